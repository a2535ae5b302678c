-- Everything received is either allocated or unapplied, to the paisa (payments of NaN and voided
-- ones aside).
-- do: find the payments behind it with payment_totals_true.
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
),

total as (
  select
    sum(payment.amount) as received,
    sum(coalesce(applied.amount, 0)) as allocated,
    sum(coalesce(payment.amount_unapplied, 0)) as unapplied
  from absent
  cross join public.payments as payment
  left join applied on payment.id = applied.payment_id
  where
    payment.amount < 'Infinity'
    -- the column comes with the gap that can void a payment; before it, absent's is meant
    and (select voided_at from (select payment.*) as whole) is null -- noqa: RF02
)

select
  'dairy' as entity,
  null as entity_id,
  total.received || ' received' as expected,
  total.allocated || ' allocated, ' || total.unapplied || ' unapplied' as found
from total
where total.received <> total.allocated + total.unapplied;
