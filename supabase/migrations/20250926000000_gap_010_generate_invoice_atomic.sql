-- GAP-010: two bulk runs made two invoices for the same period, and the same number.

-- what the gap adds ------------------------------------------------------------------------------

create table public.invoice_counters (
  financial_year text primary key check (financial_year ~ '^[0-9]{6}$'),
  last_number integer not null check (last_number between 0 and 99999),
  updated_at timestamptz not null default now()
);

comment on table public.invoice_counters is
'The last invoice number of each financial year; kept by the database.';

alter table public.invoice_counters enable row level security;

create policy "Staff read" on public.invoice_counters
for select to authenticated using (true);

revoke all on public.invoice_counters from public, anon, authenticated, service_role;
grant select on public.invoice_counters to authenticated, service_role;

-- functions, quoted from sql/functions ----------------------------------------------------------

-- >>> sql/functions/invoices/check_invoice_series.sql sha256:d8dc990a94ed4ad08883c447a48d23ac7af93a22799c102844ac4578310d48b4
-- Every broken invariant of invoice series, one row each; a part of check_payment_invariants.
--
-- Locks: none. It reads one snapshot.

create or replace function private.check_invoice_series()
returns table (
  invariant text,
  entity text,
  entity_id text,
  expected text,
  found text
)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return;
end;
$$;

comment on function private.check_invoice_series() is
'Every broken invariant of invoice series as a row; none when all is well.';

revoke all on function private.check_invoice_series() from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/check_payment_invariants.sql sha256:f7befc6c712d129d64f7dc8d60663f085e6e4d08717d1dc48ce16cbd5edc9b78
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
  select * from private.check_payment_methods()
  union all
  select * from private.check_invoice_series();
end;
$$;

comment on function public.check_payment_invariants() is
'Every broken invariant of the books as a row; none when all is well.';

revoke all on function public.check_payment_invariants()
from public, anon, authenticated, service_role;
grant execute on function public.check_payment_invariants() to authenticated, service_role;
-- <<<
