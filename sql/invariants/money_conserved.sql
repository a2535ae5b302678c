-- Everything received is either allocated or unapplied, to the paisa.
-- do: find the payments behind it with payment_totals_true.
with received as (
  select
    sum(amount) as amount,
    sum(coalesce(amount_unapplied, 0)) as unapplied
  from public.payments
),

allocated as (
  select coalesce(sum(allocation.amount), 0) as amount
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
  where allocation.payment_id is not null
)

select
  'dairy' as entity,
  null as entity_id,
  received.amount || ' received' as expected,
  allocated.amount || ' allocated, ' || received.unapplied || ' unapplied' as found
from received
cross join allocated
where received.amount <> allocated.amount + received.unapplied;
