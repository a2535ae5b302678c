-- Refuses (23514) to change customer, type or total of a sale that a live invoice bills; the trigger's
-- WHEN clause says when one of them changes. Its status is derive_sale's.
--
-- Locks: none; the sale is held by the update itself.

create or replace function private.keep_billed_sale()
returns trigger
language plpgsql
security definer -- an invoker whom row security filters would see no invoice, silently
set search_path = pg_catalog, pg_temp
as $$
declare
  v_invoice_id uuid;
begin
  -- check
  select bill.invoice_id into v_invoice_id
  from private.bills_of_sales(array[old.id]) as bill;

  if found then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'sales',
      constraint = 'sales_billed_fixed',
      column = 'customer_id',
      message = 'a billed sale keeps its customer, its type and its total',
      detail = jsonb_build_object('id', old.id, 'invoice_id', v_invoice_id)::text,
      hint = 'Delete or cancel its invoice first.';
  end if;

  return new;
end;
$$;

comment on function private.keep_billed_sale() is
'Trigger: a sale that a live invoice bills keeps its customer, its type and its total.';

revoke all on function private.keep_billed_sale() from public, anon, authenticated, service_role;
