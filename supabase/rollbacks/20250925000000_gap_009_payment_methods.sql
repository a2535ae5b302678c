-- Undoes gap 009, exactly: functions and triggers as before, no row changed. The names that methods
-- were given stay.
--
-- Locks: access exclusive on payments, from here to the commit.

drop trigger spell_method_on_insert on public.payments;
drop trigger spell_method_on_update on public.payments;

-- functions, as they were before ----------------------------------------------------------------

-- >>> sql/functions/payment_methods/canonical_payment_method.sql was not there
drop function private.canonical_payment_method(text);
-- <<<

-- >>> sql/functions/payment_methods/known_payment_method.sql was not there
drop function private.known_payment_method(text);
-- <<<

-- >>> sql/functions/payment_methods/normalize_payment_method.sql was not there
drop function public.normalize_payment_method(text);
-- <<<

-- >>> sql/functions/payment_methods/payment_method_limits.sql was not there
drop function private.payment_method_limits(text);
-- <<<

-- >>> sql/functions/payment_methods/spell_payment_method.sql was not there
drop function private.spell_payment_method();
-- <<<

-- >>> sql/functions/payments/check_payment_invariants.sql as of 20250923000000_gap_007_generate_bulk_invoices_atomic sha256:aabb2eb23dfd07efccf996b7b5e2e241ab73ed111d0e6f0f5783d68ed6aa066c
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
  select * from private.check_billed_amounts();
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

-- >>> sql/functions/payments/check_payment_methods.sql was not there
drop function private.check_payment_methods();
-- <<<
