-- No two invoices have one number.
-- do: give the one that the customer has not seen yet a number of its own.
select
  'invoice' as entity,
  min(invoice.id::text) as entity_id,
  'a number of its own' as expected,
  count(*) || ' invoices numbered ' || invoice.invoice_number as found
from public.invoice_metadata as invoice
where invoice.invoice_number is not null
group by invoice.invoice_number
having count(*) > 1;
