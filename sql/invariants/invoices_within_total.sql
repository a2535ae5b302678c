-- An invoice is paid at most in full.
-- do: take allocations off until the rest fits; what comes off is the customer's credit.
with paid as (
  select
    invoice_id,
    sum(amount_allocated) as amount
  from public.invoice_payments
  group by invoice_id
)

select
  'invoice' as entity,
  invoice.id::text as entity_id,
  'at most ' || invoice.total_amount as expected,
  paid.amount || ' allocated' as found
from public.invoice_metadata as invoice
inner join paid on invoice.id = paid.invoice_id
where paid.amount > invoice.total_amount;
