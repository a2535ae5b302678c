-- A delivery or a sale stands on at most one line of a live invoice: its customer pays it once.
-- do: delete or cancel all but one of the invoices, or remove the line and lower the total.
select
  'sale' as entity,
  item.sale_id::text as entity_id,
  'one line of a live invoice' as expected,
  count(*) || ' lines of live invoices' as found
from public.invoice_line_items as item
inner join public.invoice_metadata as invoice on item.invoice_id = invoice.id
where item.sale_id is not null and invoice.invoice_status is distinct from 'cancelled'
group by item.sale_id
having count(*) > 1
union all
select
  'delivery' as entity,
  item.delivery_id::text as entity_id,
  'one line of a live invoice' as expected,
  count(*) || ' lines of live invoices' as found
from public.invoice_line_items as item
inner join public.invoice_metadata as invoice on item.invoice_id = invoice.id
where item.delivery_id is not null and invoice.invoice_status is distinct from 'cancelled'
group by item.delivery_id
having count(*) > 1;
