-- Reads a sum of money out of a caller's JSON: a number or a decimal string, above 0, below 10^10,
-- of at most two decimals after trailing zeros. Null for whatever else; never a cast error.
--
-- Locks: none.

create or replace function private.money(p_value jsonb)
returns numeric
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_text constant text := p_value #>> '{}';
  v_amount numeric;
begin
  if jsonb_typeof(p_value) = 'number' then
    v_amount := trim_scale(v_text::numeric);
  elsif
    jsonb_typeof(p_value) = 'string'
    and length(v_text) <= 40
    and v_text ~ '^[0-9]+(\.[0-9]+)?$'
  then
    v_amount := trim_scale(v_text::numeric);
  end if;

  if v_amount > 0 and v_amount < 10000000000 and scale(v_amount) <= 2 then
    return v_amount;
  end if;

  return null;
end;
$$;

comment on function private.money(jsonb) is
'A sum of money out of JSON, in rupees: above 0, below 10^10, at most two decimals; else null.';

revoke all on function private.money(jsonb) from public, anon, authenticated, service_role;
