-- Refuses (23514) to take a delivery that a live invoice bills away from its customer, to price it
-- anew or to say that it was not delivered; the trigger's WHEN clause says when one of them changes.
--
-- A delivered delivery may be on its way onto an invoice: a call that bills or recovers holds the
-- customer, reads, and writes its lines. So the change queues on the customer before it looks. What is
-- only now confirmed is on nobody's way, and the morning's round locks no customer.
--
-- An older snapshot than read committed's would not show who billed it meanwhile; such a transaction
-- is refused (0A000), as it is where invoices are written (refuse_overlap).
--
-- Locks: the customer, `for no key update`; the delivery is held by the update itself.

create or replace function private.keep_billed_delivery()
returns trigger
language plpgsql
security definer -- an invoker whom row security filters would see no invoice, silently
set search_path = pg_catalog, pg_temp
as $$
declare
  v_invoice_id uuid;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception using
      errcode = 'feature_not_supported',
      message = 'delivered deliveries are changed in read committed transactions alone',
      detail = jsonb_build_object(
        'transaction_isolation', current_setting('transaction_isolation')
      )::text,
      hint = 'An older snapshot cannot show the invoice that bills the delivery by now.';
  end if;

  -- lock
  if old.delivery_status = 'delivered' then
    perform
    from public.customers as customer
    where customer.id = old.customer_id
    for no key update;
  end if;

  -- check
  select line.invoice_id into v_invoice_id
  from public.invoice_line_items as line
  where line.delivery_id = old.id and line.bills;

  if found then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'deliveries',
      constraint = 'deliveries_billed_fixed',
      column = 'total_amount',
      message = 'a billed delivery stays delivered and keeps its customer and its total',
      detail = jsonb_build_object('id', old.id, 'invoice_id', v_invoice_id)::text,
      hint = 'Delete or cancel its invoice first.';
  end if;

  return new;
end;
$$;

comment on function private.keep_billed_delivery() is
'Trigger: a delivery that a live invoice bills stays delivered and keeps customer and total.';

revoke all on function private.keep_billed_delivery()
from public, anon, authenticated, service_role;
