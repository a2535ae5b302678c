-- A line bills while its invoice is live, unless another line bills the same (see billed_once).
-- do: report a defect; the database derives it from the invoice.
-- The column comes with gap 006; before it, the unqualified name means the one of `absent`.
with absent as (
  select null::boolean as bills
),

billing as (
  select
    item.id,
    item.sale_id,
    item.delivery_id,
    intent.bills,
    (invoice.id is not null and coalesce(invoice.invoice_status, 'draft') <> 'cancelled') as live
  from absent -- noqa: ST11
  cross join public.invoice_line_items as item
  cross join lateral (select bills from (select item.*) as whole) as intent -- noqa: RF02,ST05
  left join public.invoice_metadata as invoice on item.invoice_id = invoice.id
)

select
  'invoice_line' as entity,
  billing.id::text as entity_id,
  case when billing.live then 'bills' else 'bills nothing' end as expected,
  case when billing.bills then 'bills' else 'bills nothing' end as found
from billing
where
  billing.bills <> billing.live
  and not (
    billing.live
    and exists (
      select
      from billing as other
      where
        other.bills
        and (other.sale_id = billing.sale_id or other.delivery_id = billing.delivery_id)
    )
  );
