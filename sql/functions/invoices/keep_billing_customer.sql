-- Refuses (23514) to change the customer of an invoice that bills sales or deliveries, which are that
-- customer's; the trigger's WHEN clause says when it changes.
--
-- Locks: none; the invoice is held by the update itself, and whoever adds lines takes it first.

create or replace function private.keep_billing_customer()
returns trigger
language plpgsql
security definer -- an invoker whom row security filters would see no lines, silently
set search_path = pg_catalog, pg_temp
as $$
begin
  -- check
  if exists (
    select
    from public.invoice_line_items as line
    where line.invoice_id = old.id
      and line.bills
      and (line.sale_id is not null or line.delivery_id is not null)
  ) then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'invoice_metadata',
      constraint = 'invoice_metadata_billing_customer_fixed',
      column = 'customer_id',
      message = 'an invoice that bills sales or deliveries keeps its customer',
      detail = jsonb_build_object('id', old.id, 'customer_id', new.customer_id)::text,
      hint = 'Delete the invoice and make one for the other customer.';
  end if;

  return new;
end;
$$;

comment on function private.keep_billing_customer() is
'Trigger: an invoice that bills sales or deliveries keeps its customer.';

revoke all on function private.keep_billing_customer()
from public, anon, authenticated, service_role;
