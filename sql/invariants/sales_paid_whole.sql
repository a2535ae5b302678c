-- A sale is paid whole or not at all.
-- do: allocate what is missing of the sale, or take what is too much off.
with sale_paid as (
  select
    sales_id,
    sum(amount_allocated) as amount
  from public.sales_payments
  group by sales_id
)

select
  'sale' as entity,
  sale.id::text as entity_id,
  'nothing, or ' || sale.total_amount as expected,
  sale_paid.amount || ' paid' as found
from public.sales as sale
inner join sale_paid on sale.id = sale_paid.sales_id
where sale_paid.amount <> sale.total_amount;
