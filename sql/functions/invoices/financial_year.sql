-- The code of a day's financial year, April to March: 202526 from 2025-04-01 to 2026-03-31.
--
-- Locks: none.

create or replace function private.financial_year(p_day date)
returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_first date := (p_day - interval '3 months')::date;
begin
  -- return
  return to_char(v_first, 'YYYY') || to_char(v_first + interval '1 year', 'YY');
end;
$$;

comment on function private.financial_year(date) is
'The code of a day''s financial year, April to March: 202526.';

revoke all on function private.financial_year(date)
from public, anon, authenticated, service_role;
