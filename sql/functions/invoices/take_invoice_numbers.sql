-- Takes the next invoice numbers of a financial year, one after the other, and returns the first.
--
-- p_financial_year: a valid code (private.financial_year).
-- Refusals: PT409 invoice_numbers_exhausted
-- Locks: the year's counter, after customers and before invoices, until the transaction ends: a
-- transaction that fails gives its numbers back, so no failed run leaves a hole.

create or replace function private.take_invoice_numbers(
  p_financial_year text,
  p_count integer
)
returns integer
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  -- lock
  v_last integer := private.lock_invoice_counter(p_financial_year);
begin
  -- check
  if v_last + p_count > 99999 then
    raise exception using
      errcode = 'PT409',
      message = 'invoice_numbers_exhausted',
      detail = jsonb_build_object(
        'financial_year', p_financial_year, 'last_number', v_last, 'wanted', p_count
      )::text,
      hint = 'The five digits of this financial year are used up.';
  end if;

  -- write
  update public.invoice_counters as counter
  set last_number = v_last + p_count, updated_at = now()
  where counter.financial_year = p_financial_year;

  -- return
  return v_last + 1;
end;
$$;

comment on function private.take_invoice_numbers(text, integer) is
'Takes the next invoice numbers of a financial year and returns the first.';

revoke all on function private.take_invoice_numbers(text, integer)
from public, anon, authenticated, service_role;
