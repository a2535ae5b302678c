-- Everything received is either allocated or unapplied, to the paisa (payments of NaN and voided
-- ones aside).
-- do: find the payments behind it with payment_totals_true.
with absent as (
  select null::timestamptz as voided_at
),

payment as not materialized (
  select
    row_of.id,
    row_of.amount,
    row_of.amount_unapplied
  from absent
  cross join public.payments as row_of
  -- the column comes with the gap that can void a payment; before it, absent's is meant
  cross join lateral (select voided_at from (select row_of.*) as whole) as voiding -- noqa: RF02,ST05
  where row_of.amount < 'Infinity' and voiding.voided_at is null
),

allocation as (
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
),

received as (
  select
    sum(amount) as amount,
    sum(coalesce(amount_unapplied, 0)) as unapplied
  from payment
),

allocated as (
  select coalesce(sum(allocation.amount), 0) as amount
  from allocation
  inner join payment on allocation.payment_id = payment.id
)

select
  'dairy' as entity,
  null as entity_id,
  received.amount || ' received' as expected,
  allocated.amount || ' allocated, ' || received.unapplied || ' unapplied' as found
from received
cross join allocated
where received.amount <> allocated.amount + received.unapplied;
