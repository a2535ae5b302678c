-- An invoice bills what was delivered, to its own customer alone.
-- do: delete the invoice, correct the delivery, and make the invoice again.
select
  'invoice_line' as entity,
  item.id::text as entity_id,
  'a delivery made to ' || invoice.customer_id as expected,
  concat(
    coalesce(delivery.delivery_status, 'no status'), ', delivery to ', delivery.customer_id
  ) as found
from public.invoice_line_items as item
inner join public.invoice_metadata as invoice on item.invoice_id = invoice.id
inner join public.deliveries as delivery on item.delivery_id = delivery.id
where
  invoice.invoice_status is distinct from 'cancelled'
  and (
    delivery.customer_id <> invoice.customer_id
    or delivery.delivery_status is distinct from 'delivered'
  );
