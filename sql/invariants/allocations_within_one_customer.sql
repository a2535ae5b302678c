-- An allocation joins a payment and an invoice of the same customer.
-- do: take the allocation off and allocate the payment to an invoice of its own customer.
select
  'invoice_payment' as entity,
  allocation.id::text as entity_id,
  'payment and invoice of one customer' as expected,
  'payment of ' || coalesce(payment.customer_id::text, 'nobody')
  || ', invoice of ' || invoice.customer_id as found
from public.invoice_payments as allocation
inner join public.payments as payment on allocation.payment_id = payment.id
inner join public.invoice_metadata as invoice on allocation.invoice_id = invoice.id
where payment.customer_id is distinct from invoice.customer_id;
