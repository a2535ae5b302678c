-- The lines of an issued invoice that has any add up to its total.
-- do: delete or cancel the invoice and make it again; or make it a draft, correct it, and issue it.
with lines as (
  select
    invoice_id,
    coalesce(sum(line_total), 0) as amount
  from public.invoice_line_items
  group by invoice_id
)

select
  'invoice' as entity,
  invoice.id::text as entity_id,
  'lines of ' || invoice.total_amount as expected,
  'lines of ' || lines.amount as found
from public.invoice_metadata as invoice
inner join lines on invoice.id = lines.invoice_id
where
  coalesce(invoice.invoice_status, 'draft') not in ('draft', 'cancelled')
  and invoice.total_amount <> lines.amount;
