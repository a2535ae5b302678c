-- What an invoice of each customer for a period would bill, line by line, or why there is none: the
-- one place that decides it, for the preview and for the invoices themselves.
--
-- Billed are the delivered deliveries and the Credit sales still Pending that no live invoice has
-- billed and nobody paid: those of the period, and late ones. Late is what is dated before the period on a day that
-- a live invoice of the customer covers already: that day's own invoice can't be made any more. What
-- is dated on an older day that was never invoiced waits for the invoice of its own period. An invoice
-- whose total is not made up of lines that name their delivery or sale (the app may have written
-- one) is taken to have billed every delivery of its days: better late than twice.
--
-- outcome, the same on all rows of a customer:
--   invoiced          a row for each line
--   nothing_to_bill   one row without a line: no lines, or lines that come to nothing
--   already_invoiced  one row without a line: a live invoice overlaps the period (facts)
--   invalid_delivery  one row without a line: the total of a delivery isn't quantity times price, or
--                     no sum of money (facts: the first such delivery)
--   invalid_sale      likewise: a sale's amount is no sum of money, or its GST no part of it
--   total_too_large   one row without a line: the lines come to 10^10 or more
--
-- What the facts say of an invalid amount is text, and not all of it: it may have any length.
--
-- invoice_id: what the invoice can be called, where there is to be one.
-- unbilled: how many deliveries and sales the customer has to bill, whatever the outcome.
--
-- Rounding: none of what is owed. A line's total is the delivery's or the sale's total_amount, which
-- must be in whole paise; quantity times price may differ from it by the half paisa that somebody
-- rounded, up or down. What is rounded, once, to paise and here, is the GST inside of a sale.
-- Deliveries carry no GST.
--
-- Amounts are rupees.
-- Locks: none; the caller who writes holds the customers and their sales.

create or replace function private.billing_lines(
  p_customer_ids uuid[],
  p_period_start date,
  p_period_end date
)
returns table (
  customer_id uuid,
  outcome text,
  facts jsonb,
  invoice_id uuid,
  unbilled bigint,
  line_item_type text,
  delivery_id uuid,
  sale_id uuid,
  order_id uuid,
  product_id uuid,
  product_name text,
  quantity numeric,
  unit_price numeric,
  line_total numeric,
  gst_rate numeric,
  gst_amount numeric
)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan -- one customer or all of them: planned for that many
as $$
begin
  -- return
  return query
  with live_invoice as materialized (
    select
      invoice.customer_id,
      invoice.id,
      invoice.invoice_number,
      invoice.period_start,
      invoice.period_end,
      invoice.total_amount
    from public.invoice_metadata as invoice
    where invoice.customer_id = any(p_customer_ids)
      and invoice.invoice_status is distinct from 'cancelled'
      and invoice.period_start <= p_period_end
  ),

  unbilled as materialized (
    select
      delivery.customer_id,
      'subscription' as line_item_type,
      delivery.order_date as day,
      delivery.id as delivery_id,
      null::uuid as sale_id,
      delivery.daily_order_id as order_id,
      delivery.product_id,
      delivery.actual_quantity as quantity,
      delivery.unit_price,
      delivery.total_amount as line_total,
      0::numeric as gst_amount,
      case
        when delivery.actual_quantity >= 0 and delivery.actual_quantity < 10000000000
          and delivery.unit_price >= 0 and delivery.unit_price < 10000000000
          and delivery.total_amount >= 0 and delivery.total_amount < 10000000000
          then delivery.total_amount = round(delivery.total_amount, 2)
            and abs(delivery.total_amount - delivery.actual_quantity * delivery.unit_price)
            <= 0.005
        else false
      end as is_valid
    from public.deliveries as delivery
    where delivery.customer_id = any(p_customer_ids)
      and delivery.delivery_status = 'delivered'
      and delivery.order_date <= p_period_end
      and not exists (
        select
        from public.invoice_line_items as billed
        where billed.delivery_id = delivery.id and billed.bills
      )
    union all
    select
      sale.customer_id,
      'manual_sale',
      sale.sale_date,
      null,
      sale.id,
      null,
      sale.product_id,
      sale.quantity,
      sale.unit_price,
      sale.total_amount,
      coalesce(sale.gst_amount, 0),
      sale.total_amount > 0 and sale.total_amount < 10000000000
      and sale.total_amount = round(sale.total_amount, 2)
      and coalesce(sale.gst_amount, 0) between 0 and sale.total_amount
    from public.sales as sale
    where sale.customer_id = any(p_customer_ids)
      and sale.sale_type = 'Credit'
      and sale.payment_status = 'Pending'
      and sale.sale_date <= p_period_end
      and not exists (
        select
        from public.invoice_line_items as billed
        where billed.sale_id = sale.id and billed.bills
      )
      and not sale.amount_paid > 0
  ),

  item as materialized (
    select unbilled.*
    from unbilled
    where unbilled.day >= p_period_start
    union all
    select unbilled.*
    from unbilled
    where unbilled.day < p_period_start
      and exists (
        select
        from live_invoice
        where live_invoice.customer_id = unbilled.customer_id
          and unbilled.day between live_invoice.period_start and live_invoice.period_end
          and (
            unbilled.sale_id is not null
            or live_invoice.total_amount = (
              select coalesce(sum(line.line_total), 0)
              from public.invoice_line_items as line
              where line.invoice_id = live_invoice.id
                and (
                  line.delivery_id is not null
                  or line.sale_id is not null
                  or line.line_item_type = 'adjustment'
                )
            )
          )
      )
  ),

  overlap as (
    select distinct on (live_invoice.customer_id)
      live_invoice.customer_id,
      jsonb_build_object(
        'invoice_id', live_invoice.id,
        'invoice_number', live_invoice.invoice_number,
        'period_start', live_invoice.period_start,
        'period_end', live_invoice.period_end
      ) as facts
    from live_invoice
    where live_invoice.period_end >= p_period_start
    order by live_invoice.customer_id, live_invoice.period_start, live_invoice.id
  ),

  fault as (
    select distinct on (item.customer_id)
      item.customer_id,
      case when item.sale_id is null then 'invalid_delivery' else 'invalid_sale' end as outcome,
      jsonb_strip_nulls(jsonb_build_object(
        'delivery_id', item.delivery_id,
        'sale_id', item.sale_id,
        'day', item.day,
        'quantity', left(item.quantity::text, 40),
        'unit_price', left(item.unit_price::text, 40),
        'total_amount', left(item.line_total::text, 40),
        'gst_amount', case when item.sale_id is not null then left(item.gst_amount::text, 40) end
      )) as facts
    from item
    where not item.is_valid
    order by item.customer_id, item.day, item.delivery_id, item.sale_id
  ),

  amount as (
    select
      item.customer_id,
      sum(item.line_total) filter (where item.is_valid) as total,
      count(*) as unbilled
    from item
    group by item.customer_id
  ),

  verdict as materialized (
    select
      asked.customer_id,
      case
        when overlap.customer_id is not null then 'already_invoiced'
        when fault.customer_id is not null then fault.outcome
        when amount.total >= 10000000000 then 'total_too_large'
        when amount.total > 0 then 'invoiced'
        else 'nothing_to_bill'
      end as outcome,
      coalesce(
        overlap.facts,
        fault.facts,
        case
          when amount.total >= 10000000000 then jsonb_build_object('total_amount', amount.total)
        end,
        '{}'
      ) as facts,
      gen_random_uuid() as invoice_id,
      coalesce(amount.unbilled, 0) as unbilled
    from unnest(p_customer_ids) as asked (customer_id)
    left join overlap on asked.customer_id = overlap.customer_id
    left join fault on asked.customer_id = fault.customer_id
    left join amount on asked.customer_id = amount.customer_id
  )

  select
    verdict.customer_id,
    verdict.outcome,
    verdict.facts,
    case when verdict.outcome = 'invoiced' then verdict.invoice_id end,
    verdict.unbilled,
    item.line_item_type,
    item.delivery_id,
    item.sale_id,
    item.order_id,
    item.product_id,
    product.name,
    item.quantity,
    item.unit_price,
    item.line_total,
    case
      when item.delivery_id is not null then 0
      when item.sale_id is not null then coalesce(product.gst_rate, 0)
    end,
    round(item.gst_amount, 2)
  from verdict
  left join item on verdict.customer_id = item.customer_id and verdict.outcome = 'invoiced'
  left join public.products as product on item.product_id = product.id
  order by verdict.customer_id, item.day, item.line_item_type desc, item.delivery_id, item.sale_id;
end;
$$;

comment on function private.billing_lines(uuid[], date, date) is
'What an invoice of each customer for a period would bill, line by line, or why there is none. '
'Amounts are whole paise as they stand; only the GST inside of a sale is rounded, here, once.';

revoke all on function private.billing_lines(uuid[], date, date)
from public, anon, authenticated, service_role;
