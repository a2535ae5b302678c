-- A voided payment is allocated to nothing.
-- do: take its allocations off; money that did come is a new payment.
with absent as (
  select null::timestamptz as voided_at
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
)

select
  'payment' as entity,
  payment.id::text as entity_id,
  'nothing allocated' as expected,
  sum(allocation.amount) || ' allocated' as found
from absent
cross join public.payments as payment
-- the column comes with the gap that can void a payment; before it, absent's is meant
cross join lateral (select voided_at from (select payment.*) as whole) as voiding -- noqa: RF02,ST05
inner join allocation on payment.id = allocation.payment_id
where voiding.voided_at is not null
group by payment.id
having sum(allocation.amount) <> 0;
