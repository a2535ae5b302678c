-- A delivery or a sale stands on at most one line of a live invoice: its customer pays it once.
-- do: delete or cancel all but one of the invoices, or remove the line and lower the total.
with absent as (
  select true as bills
),

line as not materialized (
  select
    item.sale_id,
    item.delivery_id,
    intent.bills
  from absent -- noqa: ST11
  cross join public.invoice_line_items as item
  -- the column comes with gap 006; before it, absent's is meant
  cross join lateral (select bills from (select item.*) as whole) as intent -- noqa: RF02,ST05
),

-- What may stand on several is found first, among lines that bill in the order of an index, so that
-- only of that little is asked which invoices are live.
repeated_sales as materialized (
  select sale_id
  from line
  where bills and sale_id is not null
  group by sale_id
  having count(*) > 1
  union
  select sale_id
  from line
  where not bills and sale_id is not null
),

repeated_deliveries as materialized (
  select delivery_id
  from line
  where bills and delivery_id is not null
  group by delivery_id
  having count(*) > 1
  union
  select delivery_id
  from line
  where not bills and delivery_id is not null
)

select
  'sale' as entity,
  item.sale_id::text as entity_id,
  'one line of a live invoice' as expected,
  count(*) || ' lines of live invoices' as found
from repeated_sales
inner join public.invoice_line_items as item on repeated_sales.sale_id = item.sale_id
inner join public.invoice_metadata as invoice on item.invoice_id = invoice.id
where invoice.invoice_status is distinct from 'cancelled'
group by item.sale_id
having count(*) > 1
union all
select
  'delivery' as entity,
  item.delivery_id::text as entity_id,
  'one line of a live invoice' as expected,
  count(*) || ' lines of live invoices' as found
from repeated_deliveries
inner join public.invoice_line_items as item on repeated_deliveries.delivery_id = item.delivery_id
inner join public.invoice_metadata as invoice on item.invoice_id = invoice.id
where invoice.invoice_status is distinct from 'cancelled'
group by item.delivery_id
having count(*) > 1;
