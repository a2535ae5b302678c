-- After a payment was deleted: its row of unapplied_payments goes with it. The row is the database's,
-- so it must not be what the delete meets; the allocations still are.
--
-- After it, since a row stays while something is left of its payment, whoever deletes it.
--
-- Locks: none but the payment, which the delete holds.

create or replace function private.take_unapplied_along()
returns trigger
language plpgsql
security definer -- the mirror is the database's, whatever the caller may delete
set search_path = pg_catalog, pg_temp
as $$
begin
  -- write
  delete from public.unapplied_payments as mirror
  where mirror.payment_id = old.id;

  return null;
end;
$$;

comment on function private.take_unapplied_along() is
'Trigger: a payment that is deleted takes its row of unapplied_payments along.';

revoke all on function private.take_unapplied_along()
from public, anon, authenticated, service_role;
