-- Refuses what is no billing period: a missing, reversed or infinite one, one longer than a year,
-- or one outside of the years 2000 to 2999.
--
-- Refusals: PT400 period_required, period_invalid
-- Locks: none.

create or replace function private.check_period(
  p_period_start date,
  p_period_end date
)
returns void
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- check
  if p_period_start is null or p_period_end is null then
    raise exception using
      errcode = 'PT400',
      message = 'period_required',
      detail = jsonb_build_object(
        'period_start', p_period_start, 'period_end', p_period_end
      )::text,
      hint = 'Name the first and the last day of the period.';
  elsif
    p_period_start < date '2000-01-01'
    or p_period_end > date '2999-12-31'
    or p_period_end < p_period_start
    or p_period_end - p_period_start > 365
  then
    raise exception using
      errcode = 'PT400',
      message = 'period_invalid',
      detail = jsonb_build_object(
        'period_start', p_period_start, 'period_end', p_period_end, 'longest_in_days', 366
      )::text,
      hint = 'A period ends on or after its first day and is no longer than a year.';
  end if;
end;
$$;

comment on function private.check_period(date, date) is
'Refuses a billing period that is missing, reversed, infinite or longer than a year.';

revoke all on function private.check_period(date, date)
from public, anon, authenticated, service_role;
