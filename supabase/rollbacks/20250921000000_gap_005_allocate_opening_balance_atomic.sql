-- Undoes gap 005, exactly.

-- functions, as they were before ----------------------------------------------------------------

-- >>> sql/functions/allocations/check_settlements.sql was not there
drop function private.check_settlements();
-- <<<

-- >>> sql/functions/payments/check_payment_invariants.sql as of 20250920000000_gap_004_unapplied_payments sha256:fe7a264a6187154bb373b486f3d5a657400cb93aa48849ece04c42377cb09c76
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
  select * from private.check_unapplied_payments();
end;
$$;

comment on function public.check_payment_invariants() is
'Every broken invariant of the books as a row; none when all is well.';

revoke all on function public.check_payment_invariants()
from public, anon, authenticated, service_role;
grant execute on function public.check_payment_invariants() to authenticated, service_role;
-- <<<

-- what the gap added -----------------------------------------------------------------------------

drop table private.settlement_journal;
alter table public.sales drop column amount_paid;
alter table public.customers drop column opening_balance_paid;
