-- Undoes gap 003, exactly.

-- functions, as they were before ----------------------------------------------------------------

-- what the gap added -----------------------------------------------------------------------------

drop table private.payment_edits;
