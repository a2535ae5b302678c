-- The newest payments, with what each of them pays.
select
  payment.payment_date,
  payment.amount,
  customer.billing_name,
  (
    select sum(allocation.amount_allocated)
    from public.invoice_payments as allocation
    where allocation.payment_id = payment.id
  ) as on_invoices
from public.payments as payment
left join public.customers as customer on payment.customer_id = customer.id
order by payment.payment_date desc, payment.created_at desc
limit 50;
