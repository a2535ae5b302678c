-- Undoes harden_access, exactly.

-- functions, as they were before ----------------------------------------------------------------
