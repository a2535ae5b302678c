-- The customers that a caller names for a bulk run, each once and in one order; null for everyone.
--
-- Refusals: PT400 customers_empty, customer_required
-- Locks: none.

create or replace function private.parse_customer_ids(p_customer_ids uuid[])
returns uuid[]
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_customer_ids uuid[];
  v_named bigint;
  v_nameless bigint;
begin
  select
    array_agg(distinct named.id order by named.id),
    count(*),
    count(*) filter (where named.id is null)
  into v_customer_ids, v_named, v_nameless
  from unnest(p_customer_ids) as named (id);

  -- check
  if p_customer_ids is not null and v_named = 0 then
    raise exception using
      errcode = 'PT400',
      message = 'customers_empty',
      detail = jsonb_build_object('customers', 0)::text,
      hint = 'Name at least one customer, or send null for everyone with something to bill.';
  elsif v_nameless > 0 then
    raise exception using
      errcode = 'PT400',
      message = 'customer_required',
      detail = jsonb_build_object('customers', v_named, 'without_id', v_nameless)::text,
      hint = 'Each line of the list names a customer.';
  end if;

  -- return
  return v_customer_ids;
end;
$$;

comment on function private.parse_customer_ids(uuid[]) is
'The customers that a caller names for a bulk run, each once; null for everyone.';

revoke all on function private.parse_customer_ids(uuid[])
from public, anon, authenticated, service_role;
