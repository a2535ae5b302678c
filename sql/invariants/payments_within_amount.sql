-- A payment is allocated at most once over: invoices, opening balance and sales together.
-- do: take allocations off until the rest fits, newest first, and tell the customer.
with to_invoices as (
  select
    payment_id,
    sum(amount_allocated) as amount
  from public.invoice_payments
  group by payment_id
),

to_opening_balance as (
  select
    payment_id,
    sum(amount) as amount
  from public.opening_balance_payments
  group by payment_id
),

to_sales as (
  select
    payment_id,
    sum(amount_allocated) as amount
  from public.sales_payments
  group by payment_id
),

applied as (
  select
    payment.id,
    payment.amount,
    coalesce(to_invoices.amount, 0)
    + coalesce(to_opening_balance.amount, 0)
    + coalesce(to_sales.amount, 0) as allocated
  from public.payments as payment
  left join to_invoices on payment.id = to_invoices.payment_id
  left join to_opening_balance on payment.id = to_opening_balance.payment_id
  left join to_sales on payment.id = to_sales.payment_id
)

select
  'payment' as entity,
  applied.id::text as entity_id,
  'at most ' || applied.amount as expected,
  applied.allocated || ' allocated' as found
from applied
where applied.allocated <> 0 and applied.allocated > applied.amount;
