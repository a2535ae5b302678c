-- No invoice has a number above its year's counter, which would be given once more.
-- do: move the counter up to the highest number in use.
-- The counters are there from gap 010 on, and reached as text until then.
with counter as (
  select
    unnest(xpath('//financial_year/text()', book.counters))::text as financial_year,
    unnest(xpath('//last_number/text()', book.counters))::text::integer as last_number
  from (
    select
      case
        when to_regclass('public.invoice_counters') is not null
          then query_to_xml(
            'select financial_year, last_number from public.invoice_counters', false, false, ''
          )
      end as counters
  ) as book
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
