-- A sale that is on a live invoice is paid through it, or its customer pays it twice.
-- do: take the payment off the sale and allocate it to the invoice.
select
  'sale' as entity,
  sale.id::text as entity_id,
  'no payment of its own, since it is on an invoice' as expected,
  sum(allocation.amount_allocated) || ' paid' as found
from public.sales as sale
inner join public.sales_payments as allocation on sale.id = allocation.sales_id
where
  sale.id in (
    select item.sale_id
    from public.invoice_line_items as item
    inner join public.invoice_metadata as invoice on item.invoice_id = invoice.id
    where invoice.invoice_status is distinct from 'cancelled'
  )
group by sale.id;
