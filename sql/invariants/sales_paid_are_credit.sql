-- Only a Credit sale is paid by a payment: Cash and QR sales were paid at the counter.
-- do: take the payment off the sale; it is the customer's credit.
select
  'sales_payment' as entity,
  allocation.id::text as entity_id,
  'a Credit sale' as expected,
  'a sale of type ' || sale.sale_type as found
from public.sales_payments as allocation
inner join public.sales as sale on allocation.sales_id = sale.id
where sale.sale_type <> 'Credit';
