-- Holds what a payment pays, and what it is about to pay, until the transaction ends: its invoices,
-- then the sales that it pays and those that its invoices bill, since they settle with them.
--
-- p_more_invoice_ids: invoices that it is about to pay.
-- Locks: invoices by id, then sales by id, `for no key update`; the caller holds the payment.

create or replace function private.hold_targets(p_payment_id uuid, p_more_invoice_ids uuid[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew took half of a call's time
as $$
declare
  v_invoice_ids uuid[];
begin
  -- lock
  v_invoice_ids := array(
    select allocation.invoice_id
    from public.invoice_payments as allocation
    where allocation.payment_id = p_payment_id
  ) || p_more_invoice_ids;

  perform
  from public.invoice_metadata as invoice
  where invoice.id = any(v_invoice_ids)
  order by invoice.id
  for no key update;

  perform
  from public.sales as sale
  where sale.id in (
    select line.sale_id
    from public.invoice_line_items as line
    where line.invoice_id = any(v_invoice_ids)
    union all
    select allocation.sales_id
    from public.sales_payments as allocation
    where allocation.payment_id = p_payment_id
  )
  order by sale.id
  for no key update;
end;
$$;

comment on function private.hold_targets(uuid, uuid[]) is
'Holds the invoices and sales of a payment until the transaction ends.';

revoke all on function private.hold_targets(uuid, uuid[])
from public, anon, authenticated, service_role;
