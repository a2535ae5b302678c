-- Takes the next invoice number of a financial year: code and five digits, 20252600001. No other
-- caller gets it; a transaction that fails gives it back, one that commits without using it leaves
-- a hole.
--
-- Refusals: PT400 financial_year_invalid; PT409 invoice_numbers_exhausted
-- Locks: the year's counter, after customers and before invoices.

create or replace function public.next_invoice_number(p_financial_year text)
returns text
language plpgsql
volatile
security definer -- the counters are written by the database alone
set search_path = pg_catalog, pg_temp
as $$
declare
  v_year text := private.parse_financial_year(p_financial_year);
begin
  -- lock, check, write, return
  return v_year || lpad(private.take_invoice_numbers(v_year, 1)::text, 5, '0');
end;
$$;

comment on function public.next_invoice_number(text) is
'Takes the next invoice number of a financial year: code and five digits.

p_financial_year: such as 202526, from April 2025 to March 2026
never null: returns';

revoke all on function public.next_invoice_number(text)
from public, anon, authenticated, service_role;
grant execute on function public.next_invoice_number(text) to authenticated, service_role;
