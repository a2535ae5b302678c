-- What each customer owes and has in credit, from the rows and not from the cached totals.
--
-- outstanding: opening balance less what was paid of it, plus what is unpaid of issued invoices.
-- credit: what is left of the customer's payments. A voided payment counts in neither.
-- money: outstanding, credit
-- name: billing_name
--
-- One sum over all entries: summed apart, what customers have is read in the order of an index, a page
-- for each row, where memory for sorting is short; and a group for each invoice and payment would take
-- three times as long.
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

entry as (
  select
    customer_id,
    total_amount as owed,
    0 as credit
  from issued
  union all
  select
    issued.customer_id,
    -allocation.amount_allocated as owed,
    0 as credit
  from public.invoice_payments as allocation
  inner join issued on allocation.invoice_id = issued.id
  union all
  select
    customer_id,
    -amount as owed,
    0 as credit
  from public.opening_balance_payments
  union all
  select
    customer_id,
    0 as owed,
    amount as credit
  from live
  union all
  select
    live.customer_id,
    0 as owed,
    -allocation.amount as credit
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
),

balance as (
  select
    customer_id,
    sum(owed) as owed,
    sum(credit) as credit
  from entry
  group by customer_id
)

select
  customer.id::text as key,
  customer.billing_name,
  trim_scale(coalesce(customer.opening_balance, 0) + coalesce(balance.owed, 0)) as outstanding,
  trim_scale(coalesce(balance.credit, 0)) as credit
from public.customers as customer
left join balance on customer.id = balance.customer_id
order by customer.id;
