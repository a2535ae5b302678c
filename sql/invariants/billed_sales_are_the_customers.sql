-- An invoice bills Credit sales of its own customer alone.
-- do: delete the invoice, correct the sale, and make the invoice again.
select
  'invoice_line' as entity,
  item.id::text as entity_id,
  'a Credit sale of ' || invoice.customer_id as expected,
  sale.sale_type || ' sale of ' || coalesce(sale.customer_id::text, 'nobody') as found
from public.invoice_line_items as item
inner join public.invoice_metadata as invoice on item.invoice_id = invoice.id
inner join public.sales as sale on item.sale_id = sale.id
where
  invoice.invoice_status is distinct from 'cancelled'
  and (sale.sale_type <> 'Credit' or sale.customer_id is distinct from invoice.customer_id);
