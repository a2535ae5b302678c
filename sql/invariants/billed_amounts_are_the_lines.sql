-- A line that bills a delivery or a sale and names an amount names that one's.
-- do: delete or cancel the invoice, and make it again.
select
  'invoice_line' as entity,
  item.id::text as entity_id,
  coalesce(delivery.total_amount, sale.total_amount)::text as expected,
  item.line_total::text as found
from public.invoice_line_items as item
inner join public.invoice_metadata as invoice on item.invoice_id = invoice.id
left join public.deliveries as delivery on item.delivery_id = delivery.id
left join public.sales as sale on item.sale_id = sale.id
where
  invoice.invoice_status is distinct from 'cancelled'
  -- the column comes with gap 006; only of a line that differs is it asked
  and case
    when item.line_total <> coalesce(delivery.total_amount, sale.total_amount)
      then coalesce((to_jsonb(item) ->> 'bills')::boolean, true)
  end;
