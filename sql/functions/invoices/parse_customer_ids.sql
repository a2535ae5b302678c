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
begin
  -- check
  if cardinality(p_customer_ids) = 0 then
    raise exception using
      errcode = 'PT400',
      message = 'customers_empty',
      detail = jsonb_build_object('customers', 0)::text,
      hint = 'Name at least one customer, or send null for everyone with something to bill.';
  elsif array_position(p_customer_ids, null) is not null then
    raise exception using
      errcode = 'PT400',
      message = 'customer_required',
      detail = jsonb_build_object('line', array_position(p_customer_ids, null))::text,
      hint = 'Each line of the list names a customer.';
  end if;

  -- return
  return (
    select array_agg(distinct named.id order by named.id)
    from unnest(p_customer_ids) as named (id)
  );
end;
$$;

comment on function private.parse_customer_ids(uuid[]) is
'The customers that a caller names for a bulk run, each once; null for everyone.';

revoke all on function private.parse_customer_ids(uuid[])
from public, anon, authenticated, service_role;
