-- After the counters were given back: they say again what the allocations say, which may have
-- changed while the gap was rolled back. Statuses need nothing: their column never went.

alter table public.customers disable trigger derive_opening_balance_paid_on_update;
alter table public.customers disable trigger refuse_overpayment;
alter table public.sales disable trigger derive_sale_on_update;
alter table public.sales disable trigger refuse_overpayment;

with truth as (
  select
    customer.id,
    coalesce(sum(allocation.amount), 0) as paid
  from public.customers as customer
  left join public.opening_balance_payments as allocation
    on customer.id = allocation.customer_id
  group by customer.id
)

update public.customers as customer
set opening_balance_paid = truth.paid
from truth
where customer.id = truth.id and customer.opening_balance_paid <> truth.paid;

with truth as (
  select
    sale.id,
    coalesce(sum(allocation.amount_allocated), 0) as paid
  from public.sales as sale
  left join public.sales_payments as allocation on sale.id = allocation.sales_id
  group by sale.id
)

update public.sales as sale
set amount_paid = truth.paid
from truth
where sale.id = truth.id and sale.amount_paid <> truth.paid;

alter table public.customers enable trigger derive_opening_balance_paid_on_update;
alter table public.customers enable trigger refuse_overpayment;
alter table public.sales enable trigger derive_sale_on_update;
alter table public.sales enable trigger refuse_overpayment;
