-- Every amount from or of which invoices are made that is no sum of money, or no number, one row each;
-- a part of check_payment_invariants.
--
-- Locks: none. It reads one snapshot.

create or replace function private.check_billed_amounts()
returns table (
  invariant text,
  entity text,
  entity_id text,
  expected text,
  found text
)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- return
  return query
  select
    'billed_amounts_valid',
    'product',
    product.id::text,
    '0 or more, below 10^10',
    'price ' || left(product.current_price::text, 40)
  from public.products as product
  where not (product.current_price >= 0 and product.current_price < 10000000000)
  union all
  select
    'billed_amounts_valid',
    'product_price',
    history.id::text,
    '0 or more, below 10^10',
    'price ' || left(history.price::text, 40)
  from public.product_pricing_history as history
  where not (history.price >= 0 and history.price < 10000000000)
  union all
  select
    'billed_amounts_valid',
    'daily_order',
    daily.id::text,
    '0 or more, below 10^10, totals in whole paise',
    concat_ws(
      ', ',
      'quantity ' || left(daily.planned_quantity::text, 40),
      'price ' || left(daily.unit_price::text, 40),
      'total ' || left(daily.total_amount::text, 40)
    )
  from public.daily_orders as daily
  where
    not (daily.planned_quantity >= 0 and daily.planned_quantity < 10000000000)
    or not (daily.unit_price >= 0 and daily.unit_price < 10000000000)
    or not (
      daily.total_amount >= 0
      and daily.total_amount < 10000000000
      and daily.total_amount = round(daily.total_amount, 2)
    )
  union all
  select
    'billed_amounts_valid',
    'delivery',
    delivery.id::text,
    '0 or more, below 10^10, totals in whole paise',
    concat_ws(
      ', ',
      'planned ' || left(delivery.planned_quantity::text, 40),
      'actual ' || left(delivery.actual_quantity::text, 40),
      'price ' || left(delivery.unit_price::text, 40),
      'total ' || left(delivery.total_amount::text, 40)
    )
  from public.deliveries as delivery
  where
    not (delivery.planned_quantity >= 0 and delivery.planned_quantity < 10000000000)
    or not (delivery.actual_quantity >= 0 and delivery.actual_quantity < 10000000000)
    or not (delivery.unit_price >= 0 and delivery.unit_price < 10000000000)
    or not (
      delivery.total_amount >= 0
      and delivery.total_amount < 10000000000
      and delivery.total_amount = round(delivery.total_amount, 2)
    )
  union all
  select
    'billed_amounts_valid',
    'sale',
    sale.id::text,
    '0 or more, below 10^10',
    concat_ws(
      ', ',
      'quantity ' || left(sale.quantity::text, 40),
      'price ' || left(sale.unit_price::text, 40),
      'GST ' || left(sale.gst_amount::text, 40)
    )
  from public.sales as sale
  where
    not (sale.quantity >= 0 and sale.quantity < 10000000000)
    or not (sale.unit_price >= 0 and sale.unit_price < 10000000000)
    or not (sale.gst_amount >= 0 and sale.gst_amount < 10000000000)
  union all
  select
    'billed_amounts_valid',
    'invoice',
    invoice.id::text,
    '0 or more, below 10^10, parts in whole paise',
    concat_ws(
      ', ',
      'subscription ' || left(invoice.subscription_amount::text, 40),
      'sales ' || left(invoice.manual_sales_amount::text, 40),
      'GST ' || left(invoice.gst_amount::text, 40)
    )
  from public.invoice_metadata as invoice
  where
    not (
      invoice.subscription_amount >= 0
      and invoice.subscription_amount < 10000000000
      and invoice.subscription_amount = round(invoice.subscription_amount, 2)
    )
    or not (
      invoice.manual_sales_amount >= 0
      and invoice.manual_sales_amount < 10000000000
      and invoice.manual_sales_amount = round(invoice.manual_sales_amount, 2)
    )
    or not (invoice.gst_amount >= 0 and invoice.gst_amount < 10000000000)
  union all
  select
    'billed_amounts_valid',
    'invoice_line',
    item.id::text,
    'below 10^10, 0 or more unless an adjustment, totals in whole paise',
    concat_ws(
      ', ',
      'quantity ' || left(item.quantity::text, 40),
      'price ' || left(item.unit_price::text, 40),
      'total ' || left(item.line_total::text, 40),
      'GST ' || left(item.gst_amount::text, 40),
      'rate ' || left(item.gst_rate::text, 40)
    )
  from public.invoice_line_items as item
  where
    not (
      greatest(item.quantity, item.unit_price, item.line_total, item.gst_amount) < 10000000000
      and (
        least(item.quantity, item.unit_price, item.line_total, item.gst_amount) >= 0
        or (
          item.line_item_type is not distinct from 'adjustment'
          and least(item.quantity, item.unit_price, item.line_total, item.gst_amount)
          > -10000000000
        )
      )
    )
    or item.line_total <> round(item.line_total, 2)
    or not (item.gst_rate >= 0 and item.gst_rate <= 100);
end;
$$;

comment on function private.check_billed_amounts() is
'Every amount from or of which invoices are made that is no number, or owed and no sum of money.';

revoke all on function private.check_billed_amounts()
from public, anon, authenticated, service_role;
