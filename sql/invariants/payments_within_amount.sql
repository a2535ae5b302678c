-- A payment is allocated at most once over: invoices, opening balance and sales together.
-- do: take allocations off until the rest fits, newest first, and tell the customer.
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
)

select
  'payment' as entity,
  payment.id::text as entity_id,
  'at most ' || payment.amount as expected,
  applied.amount || ' allocated' as found
from public.payments as payment
inner join applied on payment.id = applied.payment_id
where applied.amount > payment.amount;
