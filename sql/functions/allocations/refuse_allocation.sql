-- Refuses (23514) a new row of invoice_payments that joins nothing, or whose amount is no sum of money.
--
-- One function and no WHEN clauses: every allocation comes by here, and Postgres reads a WHEN clause
-- from its text anew in each statement.
--
-- Locks: none.

create or replace function private.refuse_allocation()
returns trigger
language plpgsql
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- check
  if
    not (
      new.amount_allocated > 0
      and new.amount_allocated < 10000000000
      and new.amount_allocated = round(new.amount_allocated, 2)
    )
  then
    raise exception using
      errcode = 'check_violation',
      schema = tg_table_schema,
      table = tg_table_name,
      constraint = 'invoice_payments_amount_valid',
      column = 'amount_allocated',
      message = 'an allocation is above 0, below 10,000,000,000 and has at most two decimals',
      detail = jsonb_build_object('id', new.id, 'amount_allocated', new.amount_allocated)::text,
      hint = 'Allocate rupees and whole paise.';
  elsif new.payment_id is null or new.invoice_id is null then
    raise exception using
      errcode = 'check_violation',
      schema = tg_table_schema,
      table = tg_table_name,
      constraint = 'invoice_payments_two_sided',
      column = 'payment_id',
      message = 'an allocation joins a payment and what it pays',
      detail = jsonb_build_object('id', new.id, 'payment_id', new.payment_id)::text,
      hint = 'Name both the payment and what it pays.';
  end if;

  return new;
end;
$$;

comment on function private.refuse_allocation() is
'Trigger: refuses (23514) an allocation that joins nothing or is no sum of money.';

revoke all on function private.refuse_allocation() from public, anon, authenticated, service_role;
