-- GAP-008: outstanding came from one unchecked function; an error read as zero debt.

-- functions, quoted from sql/functions ----------------------------------------------------------
