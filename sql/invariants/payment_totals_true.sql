-- What a payment says of itself (applied, unapplied, status) is what its allocations say; nothing is
-- left of a voided one.
-- do: before gap 001, deploy it (it corrects them); after it, restore nothing and report a defect.
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

truth as (
  select
    payment.*,
    coalesce(applied.amount, 0) as allocated,
    case
      -- the column comes with the gap that can void a payment; before it, absent's is meant
      when voiding.voided_at is not null then 0
      else payment.amount - coalesce(applied.amount, 0)
    end as true_rest,
    case
      when coalesce(applied.amount, 0) <= 0 then 'unapplied'
      when applied.amount < payment.amount then 'partially_applied'
      else 'fully_applied'
    end as true_status
  from absent -- noqa: ST11
  cross join public.payments as payment
  cross join lateral (select voided_at from (select payment.*) as whole) as voiding -- noqa: RF02,ST05
  left join applied on payment.id = applied.payment_id
)

select
  'payment' as entity,
  truth.id::text as entity_id,
  concat_ws(
    ', ',
    truth.allocated || ' applied',
    truth.true_rest || ' unapplied',
    truth.true_status
  ) as expected,
  concat_ws(
    ', ',
    coalesce(truth.amount_applied::text, 'null') || ' applied',
    coalesce(truth.amount_unapplied::text, 'null') || ' unapplied',
    coalesce(truth.allocation_status, 'null')
  ) as found
from truth
where
  truth.amount_applied is distinct from truth.allocated
  or truth.amount_unapplied is distinct from truth.true_rest
  or truth.allocation_status is distinct from truth.true_status;
