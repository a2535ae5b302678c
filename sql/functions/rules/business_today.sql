-- The dairy's calendar day: the only clock of everything that depends on a date.
--
-- The server runs in UTC and the dairy in Asia/Kolkata: between midnight and 05:30 there,
-- `current_date` is still yesterday.
--
-- Locks: none.

create or replace function public.business_today()
returns date
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return (now() at time zone 'Asia/Kolkata')::date;
end;
$$;

comment on function public.business_today() is
'The dairy''s calendar day (Asia/Kolkata), the only clock of what depends on a date.

never null: returns';

revoke all on function public.business_today() from public, anon, authenticated, service_role;
grant execute on function public.business_today() to authenticated, service_role;
