-- What each customer owes and has in credit, from the rows and not from the cached totals.
--
-- outstanding: opening balance less what was paid of it, plus what is unpaid of issued invoices.
-- credit: what is left of the customer's payments. A voided payment counts in neither.
-- money: outstanding, credit
-- name: billing_name
--
-- What was allocated is summed by customer, not by invoice and by payment first: a group each would
-- take three times as long.
with absent as (
  select null::timestamptz as voided_at
),

issued as not materialized (
  select
    invoice.id,
    invoice.customer_id,
    invoice.total_amount
  from public.invoice_metadata as invoice
  where coalesce(invoice.invoice_status, 'draft') not in ('draft', 'cancelled')
),

invoiced as (
  select
    customer_id,
    sum(total_amount) as amount
  from issued
  group by customer_id
),

invoices_paid as (
  select
    issued.customer_id,
    sum(allocation.amount_allocated) as amount
  from public.invoice_payments as allocation
  inner join issued on allocation.invoice_id = issued.id
  group by issued.customer_id
),

opening_paid as (
  select
    customer_id,
    sum(amount) as amount
  from public.opening_balance_payments
  group by customer_id
),

live as not materialized (
  select
    payment.id,
    payment.customer_id,
    payment.amount
  from absent
  cross join public.payments as payment
  -- the column comes with the gap that can void a payment; where that gap was rolled back, a voided
  -- payment is one that says that nothing is applied of it and nothing is left
  cross join lateral (select voided_at from (select payment.*) as whole) as voiding -- noqa: RF02,ST05
  where
    voiding.voided_at is null
    and (
      payment.amount_applied is distinct from 0
      or payment.amount_unapplied is distinct from 0
      or payment.allocation_status is distinct from 'unapplied'
    )
),

paid_in as (
  select
    customer_id,
    sum(amount) as amount
  from live
  group by customer_id
),

applied as (
  select
    live.customer_id,
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
  inner join live on allocation.payment_id = live.id
  group by live.customer_id
)

select
  customer.id::text as key,
  customer.billing_name,
  trim_scale(
    coalesce(customer.opening_balance, 0)
    - coalesce(opening_paid.amount, 0)
    + coalesce(invoiced.amount, 0)
    - coalesce(invoices_paid.amount, 0)
  ) as outstanding,
  trim_scale(coalesce(paid_in.amount, 0) - coalesce(applied.amount, 0)) as credit
from public.customers as customer
left join invoiced on customer.id = invoiced.customer_id
left join invoices_paid on customer.id = invoices_paid.customer_id
left join opening_paid on customer.id = opening_paid.customer_id
left join paid_in on customer.id = paid_in.customer_id
left join applied on customer.id = applied.customer_id
order by customer.id;
