-- The morning's round: who gets what, by route.
select
  route.name as route,
  customer.billing_name,
  product.name as product,
  orders.planned_quantity
from public.daily_orders as orders
inner join public.customers as customer on orders.customer_id = customer.id
inner join public.products as product on orders.product_id = product.id
left join public.routes as route on orders.route_id = route.id
where orders.order_date = (select max(latest.order_date) from public.daily_orders as latest)
order by route.name, customer.billing_name, product.name;
