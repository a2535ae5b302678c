-- An allocation joins a payment and what it pays.
-- do: delete the allocation; it is money from nowhere, or to nowhere.
with allocation as (
  select
    'invoice_payment' as entity,
    id,
    payment_id,
    invoice_id as target_id
  from public.invoice_payments
  union all
  select
    'opening_balance_payment' as entity,
    id,
    payment_id,
    customer_id as target_id
  from public.opening_balance_payments
  union all
  select
    'sales_payment' as entity,
    id,
    payment_id,
    sales_id as target_id
  from public.sales_payments
)

select
  allocation.entity,
  allocation.id::text as entity_id,
  'a payment and what it pays' as expected,
  case
    when allocation.payment_id is null then 'no payment' else 'nothing that it pays'
  end as found
from allocation
where allocation.payment_id is null or allocation.target_id is null;
