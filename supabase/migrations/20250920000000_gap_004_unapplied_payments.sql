-- GAP-004: unapplied_payments drifted from the payments it mirrors.

-- functions, quoted from sql/functions ----------------------------------------------------------

-- >>> sql/functions/payments/check_payment_invariants.sql sha256:fe7a264a6187154bb373b486f3d5a657400cb93aa48849ece04c42377cb09c76
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

-- >>> sql/functions/payments/check_unapplied_payments.sql sha256:ca88a795c279b31b112f6a63814f5c812e740457f4d6b2b4aec666a35c900eb8
-- Every broken invariant of unapplied payments, one row each; a part of check_payment_invariants.
--
-- Locks: none. It reads one snapshot.

create or replace function private.check_unapplied_payments()
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

comment on function private.check_unapplied_payments() is
'Every broken invariant of unapplied payments as a row; none when all is well.';

revoke all on function private.check_unapplied_payments() from public, anon, authenticated, service_role;
-- <<<
