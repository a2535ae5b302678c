-- A voided payment is allocated to nothing.
-- do: take its allocations off; money that did come is a new payment.
with absent as (
  select null::timestamptz as voided_at
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
)

select
  'payment' as entity,
  payment.id::text as entity_id,
  'nothing allocated' as expected,
  applied.amount || ' allocated' as found
from absent
cross join public.payments as payment
inner join applied on payment.id = applied.payment_id
where
  -- the column comes with the gap that can void a payment; before it, absent's is meant
  (select voided_at from (select payment.*) as whole) is not null -- noqa: RF02
  and applied.amount <> 0;
