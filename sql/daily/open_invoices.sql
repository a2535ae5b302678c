-- The list of what is unpaid, oldest first.
select
  invoice.invoice_number,
  customer.billing_name,
  invoice.total_amount,
  invoice.amount_outstanding,
  invoice.due_date
from public.invoice_metadata as invoice
inner join public.customers as customer on invoice.customer_id = customer.id
where invoice.invoice_status in ('sent', 'partially_paid', 'overdue')
order by invoice.due_date, invoice.invoice_number
limit 100;
