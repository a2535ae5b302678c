-- Undoes failed_allocations, exactly. The reports are lost with their table, or kept by
-- pymilk rollback --archive, and given back by the next deploy.
--
-- Locks: access exclusive on failed_allocations, which only reports write to.

-- functions, as they were before ----------------------------------------------------------------

-- >>> sql/functions/failed_allocations/report_failed_allocation.sql was not there
drop function public.report_failed_allocation(text, text, uuid, text, jsonb);
-- <<<

-- what it added -----------------------------------------------------------------------------------

drop table public.failed_allocations;
