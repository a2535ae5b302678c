-- The mapping of invoices and sales names whom a line bills, and nobody else.
-- do: report a defect; the database writes the mapping with the lines.
with billing as (
  select
    item.invoice_id,
    item.sale_id
  from public.invoice_line_items as item
  where (to_jsonb(item) ->> 'bills')::boolean and item.sale_id is not null
),

-- The table comes with gap 006; a query that named it could not be run before.
mapping as (
  select
    pair.ids[1]::uuid as invoice_id,
    pair.ids[2]::uuid as sale_id
  from regexp_matches(
    case
      when to_regclass('public.invoice_sales_mapping') is not null
        then query_to_xml(
          'select invoice_id, sale_id from public.invoice_sales_mapping where released_at is null',
          false, true, ''
        )::text
    end,
    '<invoice_id>([^<]+)</invoice_id>\s*<sale_id>([^<]+)</sale_id>',
    'g'
  ) as pair (ids)
)

select
  'sale' as entity,
  coalesce(billing.sale_id, mapping.sale_id)::text as entity_id,
  coalesce('billed by ' || billing.invoice_id, 'billed by nobody') as expected,
  coalesce('billed by ' || mapping.invoice_id, 'billed by nobody') as found
from billing
full join mapping
  on billing.invoice_id = mapping.invoice_id and billing.sale_id = mapping.sale_id
where billing.sale_id is null or mapping.sale_id is null;
