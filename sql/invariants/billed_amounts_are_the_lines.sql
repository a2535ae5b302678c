-- A line that bills a delivery or a sale and names an amount names that one's; of both, their sum.
-- do: delete or cancel the invoice, and make it again.
with absent as (
  select true as bills
),

differing as materialized (
  select
    item.id,
    item.invoice_id,
    item.line_total,
    coalesce(
      delivery.total_amount + sale.total_amount, delivery.total_amount, sale.total_amount
    ) as billed
  from absent -- noqa: ST11
  cross join public.invoice_line_items as item
  -- the column comes with gap 006; before it, absent's is meant
  cross join lateral (select bills from (select item.*) as whole) as intent -- noqa: RF02,ST05
  left join public.deliveries as delivery on item.delivery_id = delivery.id
  left join public.sales as sale on item.sale_id = sale.id
  where
    intent.bills
    and item.line_total <> coalesce(
      delivery.total_amount + sale.total_amount, delivery.total_amount, sale.total_amount
    )
)

select
  'invoice_line' as entity,
  differing.id::text as entity_id,
  differing.billed::text as expected,
  differing.line_total::text as found
from differing
inner join public.invoice_metadata as invoice on differing.invoice_id = invoice.id
where invoice.invoice_status is distinct from 'cancelled';
