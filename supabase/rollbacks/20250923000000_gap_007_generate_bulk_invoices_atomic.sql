-- Undoes gap 007, exactly.

-- functions, as they were before ----------------------------------------------------------------

-- what the gap added -----------------------------------------------------------------------------

drop table public.bulk_operation_logs;
