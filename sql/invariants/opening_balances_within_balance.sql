-- An opening balance is paid at most once.
-- do: take the newest of its payments off the opening balance, and tell the customer.
with opening_paid as (
  select
    customer_id,
    sum(amount) as amount
  from public.opening_balance_payments
  group by customer_id
)

select
  'customer' as entity,
  customer.id::text as entity_id,
  'at most ' || coalesce(customer.opening_balance, 0) as expected,
  opening_paid.amount || ' paid' as found
from public.customers as customer
inner join opening_paid on customer.id = opening_paid.customer_id
where opening_paid.amount > coalesce(customer.opening_balance, 0);
