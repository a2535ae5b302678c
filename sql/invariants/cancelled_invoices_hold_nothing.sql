-- A cancelled invoice holds no money.
-- do: take its allocations off; what comes off is the customer's credit.
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
  'nothing allocated' as expected,
  paid.amount || ' allocated' as found
from public.invoice_metadata as invoice
inner join paid on invoice.id = paid.invoice_id
where invoice.invoice_status = 'cancelled' and paid.amount <> 0;
