-- What each customer owes and has in credit, from the rows and not from the cached totals.
--
-- outstanding: opening balance less what was paid of it, plus what is unpaid of issued invoices.
-- credit: what is left of the customer's payments. A voided payment counts in neither.
-- money: outstanding, credit
-- name: billing_name
with absent as (
  select null::timestamptz as voided_at
),

invoice_paid as (
  select
    invoice_id,
    sum(amount_allocated) as amount
  from public.invoice_payments
  group by invoice_id
),

invoiced as (
  select
    invoice.customer_id,
    sum(invoice.total_amount - coalesce(invoice_paid.amount, 0)) as outstanding
  from public.invoice_metadata as invoice
  left join invoice_paid on invoice.id = invoice_paid.invoice_id
  where coalesce(invoice.invoice_status, 'draft') not in ('draft', 'cancelled')
  group by invoice.customer_id
),

opening_paid as (
  select
    customer_id,
    sum(amount) as amount
  from public.opening_balance_payments
  group by customer_id
),

applied as (
  select
    allocation.payment_id,
    sum(allocation.amount) as amount
  from (
    select
      payment_id,
      amount_allocated as amount
    from public.invoice_payments
    union all
    select
      payment_id,
      amount
    from public.opening_balance_payments
    union all
    select
      payment_id,
      amount_allocated as amount
    from public.sales_payments
  ) as allocation
  group by allocation.payment_id
),

paid_in as (
  select
    payment.customer_id,
    sum(payment.amount - coalesce(applied.amount, 0)) as credit
  from absent
  cross join public.payments as payment
  left join applied on payment.id = applied.payment_id
  -- the column comes with the gap that can void a payment; where that gap was rolled back, a voided
  -- payment is one that says that nothing is applied of it and nothing is left
  where
    (select voided_at from (select payment.*) as whole) is null -- noqa: RF02
    and (
      payment.amount_applied is distinct from 0
      or payment.amount_unapplied is distinct from 0
      or payment.allocation_status is distinct from 'unapplied'
    )
  group by payment.customer_id
)

select
  customer.id::text as key,
  customer.billing_name,
  trim_scale(
    coalesce(customer.opening_balance, 0)
    - coalesce(opening_paid.amount, 0)
    + coalesce(invoiced.outstanding, 0)
  ) as outstanding,
  trim_scale(coalesce(paid_in.credit, 0)) as credit
from public.customers as customer
left join invoiced on customer.id = invoiced.customer_id
left join opening_paid on customer.id = opening_paid.customer_id
left join paid_in on customer.id = paid_in.customer_id
order by customer.id;
