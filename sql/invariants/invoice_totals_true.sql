-- What an invoice says of itself (paid, outstanding, status) is what its allocations say; sent and
-- overdue differ by the day alone and count as one.
-- do: before gap 001, deploy it (it corrects them); after it, restore nothing and report a defect.
with paid as (
  select
    allocation.invoice_id,
    sum(allocation.amount_allocated) as amount,
    max(payment.payment_date) as last_payment_date
  from public.invoice_payments as allocation
  left join public.payments as payment on allocation.payment_id = payment.id
  group by allocation.invoice_id
),

truth as (
  select
    invoice.*,
    coalesce(paid.amount, 0) as allocated,
    paid.last_payment_date as true_date,
    case
      when coalesce(invoice.invoice_status, 'draft') in ('draft', 'cancelled')
        then invoice.invoice_status
      when coalesce(paid.amount, 0) >= invoice.total_amount then 'paid'
      when paid.amount > 0 then 'partially_paid'
      when invoice.invoice_status in ('sent', 'overdue') then invoice.invoice_status
      else 'sent'
    end as true_status
  from public.invoice_metadata as invoice
  left join paid on invoice.id = paid.invoice_id
)

select
  'invoice' as entity,
  truth.id::text as entity_id,
  concat_ws(
    ', ',
    truth.allocated || ' paid',
    truth.total_amount - truth.allocated || ' outstanding',
    coalesce(truth.true_status, 'null'),
    'last ' || coalesce(truth.true_date::text, 'never')
  ) as expected,
  concat_ws(
    ', ',
    coalesce(truth.amount_paid::text, 'null') || ' paid',
    coalesce(truth.amount_outstanding::text, 'null') || ' outstanding',
    coalesce(truth.invoice_status, 'null'),
    'last ' || coalesce(truth.last_payment_date::text, 'never')
  ) as found
from truth
where
  truth.amount_paid is distinct from truth.allocated
  or truth.amount_outstanding is distinct from truth.total_amount - truth.allocated
  or truth.invoice_status is distinct from truth.true_status
  or truth.last_payment_date is distinct from truth.true_date;
