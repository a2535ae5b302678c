-- The mapping of invoices and sales names whom a line bills, and nobody else.
-- do: report a defect; the database writes the mapping with the lines.
with billing as (
  select
    item.invoice_id,
    item.sale_id
  from public.invoice_line_items as item
  where (to_jsonb(item) ->> 'bills')::boolean and item.sale_id is not null
),

-- The table comes with gap 006, and a query that named it could not be run before; so a function that
-- takes a query as text asks it (query_to_xml would need a server that was built with libxml).
mapping as (
  select
    left(stat.word, 36)::uuid as invoice_id,
    substr(stat.word, 38)::uuid as sale_id
  from ts_stat(
    case
      when to_regclass('public.invoice_sales_mapping') is not null
        then
          'select array_to_tsvector(array[invoice_id || '' '' || sale_id])'
          ' from public.invoice_sales_mapping where released_at is null'
      else 'select null::tsvector'
    end
  ) as stat
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
