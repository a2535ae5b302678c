-- A caller's code of a financial year, when it is one: six digits, the year it begins in and the last
-- two of the year after, such as 202526.
--
-- Refusals: PT400 financial_year_invalid
-- Locks: none.

create or replace function private.parse_financial_year(p_financial_year text)
returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- check
  if
    p_financial_year ~ '^[0-9]{6}$'
    and (left(p_financial_year, 4)::integer + 1) % 100 = right(p_financial_year, 2)::integer
  then
    return p_financial_year;
  end if;

  raise exception using
    errcode = 'PT400',
    message = 'financial_year_invalid',
    detail = jsonb_build_object('given', left(p_financial_year, 100))::text,
    hint = 'A financial year from April 2025 to March 2026 is written 202526.';
end;
$$;

comment on function private.parse_financial_year(text) is
'A caller''s code of a financial year, when it is one: 202526.';

revoke all on function private.parse_financial_year(text)
from public, anon, authenticated, service_role;
