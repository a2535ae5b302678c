-- The lines of an issued invoice that has any add up to its total.
-- do: delete or cancel the invoice and make it again; or make it a draft, correct it, and issue it.
select
  'invoice' as entity,
  invoice.id::text as entity_id,
  'lines of ' || invoice.total_amount as expected,
  'lines of ' || coalesce(sum(item.line_total), 0) as found
from public.invoice_metadata as invoice
inner join public.invoice_line_items as item on invoice.id = item.invoice_id
where coalesce(invoice.invoice_status, 'draft') not in ('draft', 'cancelled')
group by invoice.id, invoice.total_amount
having invoice.total_amount <> coalesce(sum(item.line_total), 0);
