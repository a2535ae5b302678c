-- Holds the counter of a financial year's invoice numbers and returns the last number taken. A year
-- that has none yet begins after the highest number in use.
--
-- p_financial_year: a valid code (private.financial_year).
-- Locks: the year's counter, after customers and before invoices, until the transaction ends.

create or replace function private.lock_invoice_counter(p_financial_year text)
returns integer
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_last integer;
begin
  -- lock
  select counter.last_number into v_last
  from public.invoice_counters as counter
  where counter.financial_year = p_financial_year
  for no key update;

  if found then
    return v_last;
  end if;

  -- write; who comes second waits for the first one's row
  insert into public.invoice_counters as counter (financial_year, last_number)
  select p_financial_year, coalesce(max(right(invoice.invoice_number, 5)::integer), 0)
  from public.invoice_metadata as invoice
  where invoice.invoice_number ~ ('^' || p_financial_year || '[0-9]{5}$')
  on conflict (financial_year) do nothing;

  -- return
  select counter.last_number into v_last
  from public.invoice_counters as counter
  where counter.financial_year = p_financial_year
  for no key update;

  return v_last;
end;
$$;

comment on function private.lock_invoice_counter(text) is
'Holds the counter of a financial year''s invoice numbers and returns the last number taken.';

revoke all on function private.lock_invoice_counter(text)
from public, anon, authenticated, service_role;
