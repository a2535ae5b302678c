-- The total of an invoice is 0 or more, below 10,000,000,000 and has at most two decimals.
-- do: correct the total of the invoice from its lines.
select
  'invoice' as entity,
  invoice.id::text as entity_id,
  '0 or more, below 10^10, at most two decimals' as expected,
  invoice.total_amount::text as found
from public.invoice_metadata as invoice
where
  not (
    invoice.total_amount >= 0
    and invoice.total_amount < 10000000000
    and invoice.total_amount = round(invoice.total_amount, 2)
  );
