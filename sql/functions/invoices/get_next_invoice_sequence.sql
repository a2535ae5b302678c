-- Takes the next number of a financial year for the app, which writes it behind the year's code by
-- itself. It was the highest number in use plus one, without a lock: two callers got the same.
--
-- Refusals: PT400 financial_year_invalid; PT409 invoice_numbers_exhausted
-- Locks: the year's counter, after customers and before invoices.

create or replace function public.get_next_invoice_sequence(year_code text)
returns integer
language plpgsql
volatile
security definer -- the counters are written by the database alone
set search_path = pg_catalog, pg_temp
as $$
begin
  -- lock, check, write, return
  return private.take_invoice_numbers(private.parse_financial_year(year_code), 1);
end;
$$;

comment on function public.get_next_invoice_sequence(text) is
'Takes the next number of a financial year; no other caller gets it. See next_invoice_number.

never null: returns';

revoke all on function public.get_next_invoice_sequence(text)
from public, anon, authenticated, service_role;
grant execute on function public.get_next_invoice_sequence(text) to authenticated, service_role;
