-- Refuses (23514) what the counter of a payment must never say, whoever moves it: a payment is not
-- allocated beyond its amount, nor without a customer, nor once it is voided.
--
-- The rules compare with the row as it was: one that offended before the gap can be touched in other
-- columns, and can get better. One function and no WHEN clauses: every allocation comes by here, and
-- Postgres reads a WHEN clause from its text anew in each statement.
--
-- Locks: none but the row's own.

create or replace function private.refuse_overallocation()
returns trigger
language plpgsql
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_takes_more boolean := new.amount_applied > old.amount_applied;
begin
  -- check
  if
    not (
      new.amount_applied >= 0
      and new.amount_applied <= new.amount
      and new.amount < 10000000000
    )
    and (v_takes_more or new.amount < old.amount or new.amount_applied < 0)
  then
    raise exception using
      errcode = 'check_violation',
      schema = tg_table_schema,
      table = tg_table_name,
      constraint = 'payments_applied_within_amount',
      column = 'amount_applied',
      message = 'a payment cannot be allocated beyond its amount',
      detail = jsonb_build_object('id', new.id, 'amount_applied', new.amount_applied)::text,
      hint = 'Allocate no more than what is left of the payment, or take allocations off first.';
  elsif v_takes_more and new.customer_id is null then
    raise exception using
      errcode = 'check_violation',
      schema = tg_table_schema,
      table = tg_table_name,
      constraint = 'payments_allocated_have_customer',
      column = 'customer_id',
      message = 'a payment without a customer takes no allocation',
      detail = jsonb_build_object('id', new.id, 'customer_id', new.customer_id)::text,
      hint = 'Set the customer of the payment first.';
  end if;

  return new;
end;
$$;

comment on function private.refuse_overallocation() is
'Trigger: refuses (23514) what the counter of a payment must never say.';

revoke all on function private.refuse_overallocation()
from public, anon, authenticated, service_role;
