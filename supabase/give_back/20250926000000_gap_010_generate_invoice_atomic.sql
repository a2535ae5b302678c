-- After the counters were given back: the app went on numbering while the gap was rolled back, so each
-- counter is moved up to the highest number in use. Numbers that were taken and never used stay taken.

with highest as (
  select
    left(invoice_number, 6) as financial_year,
    max(right(invoice_number, 5)::integer) as number
  from public.invoice_metadata
  where invoice_number ~ '^[0-9]{11}$'
  group by left(invoice_number, 6)
)

update public.invoice_counters as counter
set last_number = highest.number
from highest
where
  counter.financial_year = highest.financial_year
  and counter.last_number < highest.number;
