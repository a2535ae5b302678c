-- No invoice has a number above its year's counter, which would be given once more.
-- do: move the counter up to the highest number in use.
-- The table comes with gap 010; a query that named it could not be run before.
with counter as (
  select
    pair.texts[1] as financial_year,
    pair.texts[2]::bigint as last_number
  from regexp_matches(
    case
      when to_regclass('public.invoice_counters') is not null
        then query_to_xml(
          'select financial_year, last_number from public.invoice_counters', false, true, ''
        )::text
    end,
    '<financial_year>([0-9]+)</financial_year>\s*<last_number>([0-9]+)</last_number>',
    'g'
  ) as pair (texts)
)

select
  'invoice' as entity,
  invoice.id::text as entity_id,
  'a number up to ' || counter.last_number as expected,
  invoice.invoice_number as found
from counter
inner join public.invoice_metadata as invoice
  on counter.financial_year = left(invoice.invoice_number, 6)
where
  invoice.invoice_number ~ '^[0-9]{11}$'
  and right(invoice.invoice_number, 5)::integer > counter.last_number;
