-- Payments, by how much of them is allocated.
-- What is unapplied is the customers' credit. Voided payments are left out.
-- money: received, applied, unapplied
-- chart: bars of received by status
with applied as (
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

received as (
  select
    payment.amount,
    coalesce(applied.amount, 0) as applied,
    case
      when coalesce(applied.amount, 0) = 0 then 'unapplied'
      when applied.amount < payment.amount then 'partially applied'
      else 'fully applied'
    end as allocation_status
  from public.payments as payment
  left join applied on payment.id = applied.payment_id
  -- the column comes with the gap that can void a payment; where that gap was rolled back, a voided
  -- payment is one that says that nothing is applied of it and nothing is left
  where
    to_jsonb(payment) ->> 'voided_at' is null
    and (
      payment.amount_applied is distinct from 0
      or payment.amount_unapplied is distinct from 0
      or payment.allocation_status is distinct from 'unapplied'
    )
),

stage (place, status) as (
  values
  (1, 'fully applied'),
  (2, 'partially applied'),
  (3, 'unapplied')
)

select
  stage.status,
  count(received.amount) as payments,
  coalesce(sum(received.amount), 0) as received,
  coalesce(sum(received.applied), 0) as applied,
  coalesce(sum(received.amount - received.applied), 0) as unapplied
from stage
left join received on stage.status = received.allocation_status
group by stage.place, stage.status
order by stage.place;
