-- The first page of the list of customers, with what each of them owes.
select
  customer.billing_name,
  public.calculate_customer_outstanding(customer.id) as outstanding
from (
  select
    listed.id,
    listed.billing_name
  from public.customers as listed
  order by listed.billing_name
  limit 25
) as customer;
