-- An opening balance is a sum of money: 0 or more, below 10^10, in whole paise.
-- do: correct the opening balance; ask the customer's last statement what it was.
select
  'customer' as entity,
  customer.id::text as entity_id,
  '0 or more, below 10^10, at most two decimals' as expected,
  customer.opening_balance::text as found
from public.customers as customer
where not (
  customer.opening_balance >= 0
  and customer.opening_balance < 10000000000
  and customer.opening_balance = round(customer.opening_balance, 2)
);
