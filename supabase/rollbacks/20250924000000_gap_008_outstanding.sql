-- Undoes gap 008, exactly.

-- functions, as they were before ----------------------------------------------------------------
