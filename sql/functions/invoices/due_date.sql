-- The day on which an invoice is due: the customer's first billing day after the period's end. A
-- billing day that a month doesn't have is its last day; without a billing day it is the 1st.
--
-- Locks: none.

create or replace function private.due_date(
  p_period_end date,
  p_billing_cycle_day integer
)
returns date
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_day integer := coalesce(p_billing_cycle_day, 1);
  v_month date := date_trunc('month', p_period_end::timestamp)::date;
  v_next date := (v_month + interval '1 month')::date;
  v_due date := v_month + least(v_day, v_next - v_month) - 1;
begin
  -- return
  if v_due > p_period_end then
    return v_due;
  end if;

  return v_next + least(v_day, (v_next + interval '1 month')::date - v_next) - 1;
end;
$$;

comment on function private.due_date(date, integer) is
'The first billing day after a period''s end, clamped to its month; the 1st without a billing day.';

revoke all on function private.due_date(date, integer)
from public, anon, authenticated, service_role;
