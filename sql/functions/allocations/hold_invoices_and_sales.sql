-- Locks invoices and sales that one call is going to pay, before the first is written: an invoice
-- that becomes paid locks the sales on its lines, and these have to come in one order with the
-- sales that the call names.
--
-- Locks: the invoices by id, then by id the sales named and those on the invoices' lines,
-- `for no key update`.

create or replace function private.hold_invoices_and_sales(p_invoice_ids uuid[], p_sale_ids uuid[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew took half of a call's time
as $$
begin
  -- lock
  perform
  from public.invoice_metadata as invoice
  where invoice.id = any(p_invoice_ids)
  order by invoice.id
  for no key update;

  perform
  from public.sales as sale
  where sale.id = any(
    p_sale_ids || array(
      select line.sale_id
      from public.invoice_line_items as line
      where line.invoice_id = any(p_invoice_ids) and line.sale_id is not null
    )
  )
  order by sale.id
  for no key update;
end;
$$;

comment on function private.hold_invoices_and_sales(uuid[], uuid[]) is
'Locks the invoices and sales that one call is going to pay, in the one order.';

revoke all on function private.hold_invoices_and_sales(uuid[], uuid[])
from public, anon, authenticated, service_role;
