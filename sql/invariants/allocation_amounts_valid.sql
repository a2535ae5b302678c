-- An allocation is above 0, below 10,000,000,000 and has at most two decimals.
-- do: correct the amount of the allocation, or delete it and allocate the payment again.
with allocation as (
  select
    'invoice_payment' as entity,
    id,
    amount_allocated as amount
  from public.invoice_payments
  union all
  select
    'opening_balance_payment' as entity,
    id,
    amount
  from public.opening_balance_payments
  union all
  select
    'sales_payment' as entity,
    id,
    amount_allocated as amount
  from public.sales_payments
)

select
  allocation.entity,
  allocation.id::text as entity_id,
  'above 0, below 10^10, at most two decimals' as expected,
  allocation.amount::text as found
from allocation
where
  not (
    allocation.amount > 0
    and allocation.amount < 10000000000
    and allocation.amount = round(allocation.amount, 2)
  );
