-- A line bills while its invoice is live, unless another line bills the same (see billed_once).
-- do: report a defect; the database derives it from the invoice.
with absent as (
  select null::boolean as bills
),

line as not materialized (
  select
    item.id,
    item.invoice_id,
    item.sale_id,
    item.delivery_id,
    intent.bills
  from absent -- noqa: ST11
  cross join public.invoice_line_items as item
  -- the column comes with gap 006; before it, absent's is meant
  cross join lateral (select bills from (select item.*) as whole) as intent -- noqa: RF02,ST05
),

-- once for all lines, so that others that bill the same are looked for only where it is wrong
wrong as materialized (
  select
    line.id,
    line.sale_id,
    line.delivery_id,
    line.bills
  from line
  left join public.invoice_metadata as invoice on line.invoice_id = invoice.id
  where
    line.bills
    <> (invoice.id is not null and coalesce(invoice.invoice_status, 'draft') <> 'cancelled')
)

select
  'invoice_line' as entity,
  wrong.id::text as entity_id,
  case when wrong.bills then 'bills nothing' else 'bills' end as expected,
  case when wrong.bills then 'bills' else 'bills nothing' end as found
from wrong
where
  wrong.bills
  or not exists (
    select
    from line as other
    where
      other.bills
      and (other.sale_id = wrong.sale_id or other.delivery_id = wrong.delivery_id)
  );
