-- What clients report of calls that failed: which function, for which reason, how often so far.
-- The table comes with the migration failed_allocations; its rows are emptied, never deleted.
select
  function_name || ': ' || reason as what,
  count(*) as how_often
from public.failed_allocations
group by what;
