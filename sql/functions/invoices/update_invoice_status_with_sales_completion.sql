-- Refreshes the status of an invoice to the dairy's day, and completes the Credit sales of one that
-- is paid. Sales follow the allocations by themselves since gap 001; a sale that joined an invoice
-- when that was paid already is completed here.
--
-- An unknown invoice is no error, as before.
-- Locks: the invoice, then its sales by id.

create or replace function public.update_invoice_status_with_sales_completion(p_invoice_id uuid)
returns void
language plpgsql
volatile
security definer -- an invoker's update that row security filters would change nothing, silently
set search_path = pg_catalog, pg_temp
as $$
declare
  v_sale_ids uuid[];
begin
  -- lock
  perform private.refresh_invoice_status(p_invoice_id);

  select array_agg(locked.id) into v_sale_ids
  from (
    select sale.id
    from public.sales as sale
    where sale.sale_type = 'Credit'
      and sale.payment_status = 'Billed'
      and sale.id in (
        select line.sale_id
        from public.invoice_line_items as line
        inner join public.invoice_metadata as invoice on line.invoice_id = invoice.id
        where invoice.id = p_invoice_id and invoice.invoice_status = 'paid'
      )
    order by sale.id
    for no key update
  ) as locked;

  -- write
  update public.sales as sale
  set payment_status = 'Completed', updated_at = now()
  where sale.id = any(v_sale_ids) and sale.payment_status = 'Billed';
end;
$$;

comment on function public.update_invoice_status_with_sales_completion(uuid) is
'Refreshes the status of an invoice, and completes the Credit sales of one that is paid.';

revoke all on function public.update_invoice_status_with_sales_completion(uuid)
from public, anon, authenticated, service_role;
grant execute on function public.update_invoice_status_with_sales_completion(uuid)
to authenticated, service_role;
