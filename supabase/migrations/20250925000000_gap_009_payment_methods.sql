-- GAP-009: payment_method was free text.

-- functions, quoted from sql/functions ----------------------------------------------------------

-- >>> sql/functions/payments/check_payment_invariants.sql sha256:95929d2063d92a3f0e9626879c90e68fec62bb126b742c9cba19c78a8bbdd154
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
  select * from private.check_payment_methods();
end;
$$;

comment on function public.check_payment_invariants() is
'Every broken invariant of the books as a row; none when all is well.';

revoke all on function public.check_payment_invariants()
from public, anon, authenticated, service_role;
grant execute on function public.check_payment_invariants() to authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/check_payment_methods.sql sha256:f95ce5cf62333b38fe3bb5925f77d2fca7cc83700cbd46c8be6701719ef13edc
-- Every broken invariant of payment methods, one row each; a part of check_payment_invariants.
--
-- Locks: none. It reads one snapshot.

create or replace function private.check_payment_methods()
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

comment on function private.check_payment_methods() is
'Every broken invariant of payment methods as a row; none when all is well.';

revoke all on function private.check_payment_methods() from public, anon, authenticated, service_role;
-- <<<
