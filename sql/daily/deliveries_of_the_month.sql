-- What each customer got in the newest month: the page that is looked at before invoicing.
select
  delivery.customer_id,
  count(*) as deliveries,
  sum(delivery.total_amount) as total
from public.deliveries as delivery
where
  delivery.delivery_status = 'delivered'
  and delivery.order_date >= (
    select date_trunc('month', max(latest.order_date)) from public.deliveries as latest
  )
group by delivery.customer_id;
