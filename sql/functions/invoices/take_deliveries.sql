-- Deliveries that lines of live invoices just took, directly: each must be one that was delivered to
-- the invoice's customer (23514 otherwise).
--
-- That nobody else bills it holds the unique index of the lines. Calls don't come here: they read the
-- deliveries under the lock of their customer, which whoever changes a delivery takes as well
-- (keep_billed_delivery), so that 300,000 lines of a month needn't lock what they bill.
--
-- p_invoice_ids, p_delivery_ids: pairs.
-- Locks: the deliveries by id, `for no key update`; the caller holds the invoices.

create or replace function private.take_deliveries(p_invoice_ids uuid[], p_delivery_ids uuid[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_offence record;
begin
  -- lock
  perform
  from public.deliveries as delivery
  where delivery.id = any(p_delivery_ids)
  order by delivery.id
  for no key update;

  -- check
  select
    billed.invoice_id,
    billed.delivery_id,
    delivery.customer_id <> invoice.customer_id as strange,
    delivery.delivery_status
  into v_offence
  from unnest(p_invoice_ids, p_delivery_ids) as billed (invoice_id, delivery_id)
  inner join public.invoice_metadata as invoice on billed.invoice_id = invoice.id
  inner join public.deliveries as delivery on billed.delivery_id = delivery.id
  where delivery.customer_id <> invoice.customer_id
    or delivery.delivery_status is distinct from 'delivered'
  limit 1;

  if found and v_offence.strange then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'invoice_line_items',
      constraint = 'invoice_line_items_delivery_of_customer',
      column = 'delivery_id',
      message = 'an invoice bills deliveries to its own customer alone',
      detail = jsonb_build_object(
        'invoice_id', v_offence.invoice_id, 'delivery_id', v_offence.delivery_id
      )::text,
      hint = 'Bill the delivery to the customer who had it.';
  elsif found then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'invoice_line_items',
      constraint = 'invoice_line_items_delivery_delivered',
      column = 'delivery_id',
      message = 'an invoice bills what was delivered',
      detail = jsonb_build_object(
        'invoice_id', v_offence.invoice_id,
        'delivery_id', v_offence.delivery_id,
        'delivery_status', v_offence.delivery_status
      )::text,
      hint = 'Confirm the delivery first, or leave it off the invoice.';
  end if;
end;
$$;

comment on function private.take_deliveries(uuid[], uuid[]) is
'Checks deliveries that lines of live invoices just took: delivered, and to their customer.';

revoke all on function private.take_deliveries(uuid[], uuid[])
from public, anon, authenticated, service_role;
