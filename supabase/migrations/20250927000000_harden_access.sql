-- Hardening: row level security and the role matrix, for all that the gaps did not touch.

-- functions, quoted from sql/functions ----------------------------------------------------------
