-- Undoes gap 010, exactly.

-- triggers ---------------------------------------------------------------------------------------

drop trigger refuse_overlap_on_update on public.invoice_metadata;
drop trigger refuse_overlap_on_insert on public.invoice_metadata;
drop trigger refuse_period_on_update on public.invoice_metadata;
drop trigger refuse_period_on_insert on public.invoice_metadata;
drop trigger count_invoice_number_on_update on public.invoice_metadata;
drop trigger count_invoice_number_on_insert on public.invoice_metadata;

-- functions, as they were before ----------------------------------------------------------------

-- >>> sql/functions/invoices/check_invoice_series.sql was not there
drop function private.check_invoice_series();
-- <<<

-- >>> sql/functions/invoices/count_invoice_number.sql was not there
drop function private.count_invoice_number();
-- <<<

-- >>> sql/functions/invoices/generate_invoice_atomic.sql was not there
drop function public.generate_invoice_atomic(uuid, date, date);
-- <<<

-- >>> sql/functions/invoices/get_next_invoice_sequence.sql as of 20250901000000_baseline sha256:f60d3658a9900cda31405b6af3a4213aa2cdeef1f81afe11f15aefb2c10dffbe
-- The highest number in use plus one, without a lock: two callers get the same.
create or replace function public.get_next_invoice_sequence(year_code text)
returns integer
language plpgsql
as $$
declare
  highest integer;
begin
  select coalesce(max(substring(invoice_number from length(year_code) + 1)::integer), 0)
  into highest
  from public.invoice_metadata
  where invoice_number like year_code || '%';

  return highest + 1;
end;
$$;
-- <<<

-- >>> sql/functions/invoices/lock_invoice_counter.sql was not there
drop function private.lock_invoice_counter(text);
-- <<<

-- >>> sql/functions/invoices/next_invoice_number.sql was not there
drop function public.next_invoice_number(text);
-- <<<

-- >>> sql/functions/invoices/parse_financial_year.sql was not there
drop function private.parse_financial_year(text);
-- <<<

-- >>> sql/functions/invoices/refuse_overlap.sql was not there
drop function private.refuse_overlap();
-- <<<

-- >>> sql/functions/invoices/take_invoice_numbers.sql as of 20250923000000_gap_007_generate_bulk_invoices_atomic sha256:4313c27b874a4e6b24dbb5177e2d1c4b5f52641e19e48af6a5257db07b776224
-- Takes the next invoice numbers of a financial year, one after the other, and returns the first.
--
-- They follow the highest one in use. What the app inserts meanwhile may be the same number: then
-- the unique constraint refuses the later of the two.
--
-- p_financial_year: a valid code (private.financial_year).
-- Refusals: PT409 invoice_numbers_exhausted
-- Locks: an advisory one for the year, after customers and before invoices, until the transaction
-- ends: a transaction that fails gives its numbers back.

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
  v_last integer;
begin
  -- lock
  perform pg_advisory_xact_lock(
    hashtextextended(jsonb_build_array('pymilk invoices', p_financial_year)::text, 0)
  );

  -- check
  select coalesce(max(right(invoice.invoice_number, 5)::integer), 0) into v_last
  from public.invoice_metadata as invoice
  where invoice.invoice_number ~ ('^' || p_financial_year || '[0-9]{5}$');

  if v_last + p_count > 99999 then
    raise exception using
      errcode = 'PT409',
      message = 'invoice_numbers_exhausted',
      detail = jsonb_build_object(
        'financial_year', p_financial_year, 'last_number', v_last, 'wanted', p_count
      )::text,
      hint = 'The five digits of this financial year are used up.';
  end if;

  -- return
  return v_last + 1;
end;
$$;

comment on function private.take_invoice_numbers(text, integer) is
'Takes the next invoice numbers of a financial year and returns the first.';

revoke all on function private.take_invoice_numbers(text, integer)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/check_payment_invariants.sql as of 20250925000000_gap_009_payment_methods sha256:9675f70071d63b55101eb0e618683cdb2b543e142f236d14d50f4ff80204e125
-- Every broken invariant of the books, one row each; none when all is well. The same questions as
-- sql/invariants asks from outside, by the same names; each part stands in a function of its own.
--
-- Locks: none. It reads one snapshot.

create or replace function public.check_payment_invariants()
returns table (
  invariant text,
  entity text,
  entity_id text,
  expected text,
  found text
)
language plpgsql
stable
security definer -- to whom row security hides rows, all would seem well
set search_path = pg_catalog, pg_temp
as $$
begin
  -- return
  return query
  select * from private.check_payments()
  union all
  select * from private.check_unapplied_payments()
  union all
  select * from private.check_settlements()
  union all
  select * from private.check_billing()
  union all
  select * from private.check_billed_amounts()
  union all
  select * from private.check_payment_methods();
end;
$$;

comment on function public.check_payment_invariants() is
'Every broken invariant of the books as a row; none when all is well.

entity: what kind of thing breaks it, such as payment or invoice
entity_id: which one; null when it is the books as a whole
never null: invariant, entity';

revoke all on function public.check_payment_invariants()
from public, anon, authenticated, service_role;
grant execute on function public.check_payment_invariants() to authenticated, service_role;
-- <<<

comment on function public.get_next_invoice_sequence(text) is null;

select private.restore_privileges('20250926000000_gap_010_generate_invoice_atomic');

-- what the gap added -----------------------------------------------------------------------------

drop table public.invoice_counters;
