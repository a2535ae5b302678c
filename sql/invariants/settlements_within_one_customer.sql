-- A payment pays the opening balance and the sales of its own customer.
-- do: take the allocation off and allocate the payment to something of its own customer.
select
  'opening_balance_payment' as entity,
  allocation.id::text as entity_id,
  'payment and opening balance of one customer' as expected,
  'payment of ' || coalesce(payment.customer_id::text, 'nobody')
  || ', opening balance of ' || allocation.customer_id as found
from public.opening_balance_payments as allocation
inner join public.payments as payment on allocation.payment_id = payment.id
where payment.customer_id is distinct from allocation.customer_id
union all
select
  'sales_payment' as entity,
  allocation.id::text as entity_id,
  'payment and sale of one customer' as expected,
  'payment of ' || coalesce(payment.customer_id::text, 'nobody')
  || ', sale of ' || coalesce(sale.customer_id::text, 'nobody') as found
from public.sales_payments as allocation
inner join public.payments as payment on allocation.payment_id = payment.id
inner join public.sales as sale on allocation.sales_id = sale.id
where payment.customer_id is distinct from sale.customer_id;
