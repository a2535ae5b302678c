-- Reads a day written as 2025-09-30; null for whatever is not a day of the calendar. A time or a
-- time zone is no part of a day: which one is meant would depend on who reads it.
--
-- Locks: none.

create or replace function private.calendar_date(p_text text)
returns date
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts text[];
  v_first date;
begin
  v_parts := regexp_match(p_text, '^([0-9]{4})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$');
  if v_parts is null or v_parts[1] = '0000' then
    return null;
  end if;

  v_first := make_date(v_parts[1]::integer, v_parts[2]::integer, 1);
  if v_parts[3]::integer > extract(day from v_first + interval '1 month' - interval '1 day') then
    return null;
  end if;

  return v_first + (v_parts[3]::integer - 1);
end;
$$;

comment on function private.calendar_date(text) is
'The day that 2025-09-30 names; null for whatever is not a day of the calendar.';

revoke all on function private.calendar_date(text) from public, anon, authenticated, service_role;
