-- What clients report of calls that failed: which function, for which reason, how often so far.
-- The table is made by a migration of its own (docs/templates/failed_allocations.sql).
select
  function_name || ': ' || reason as what,
  count(*) as how_often
from public.failed_allocations
group by what;
