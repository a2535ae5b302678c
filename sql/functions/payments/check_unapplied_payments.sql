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
  -- return
  return query
  select
    'unapplied_payments_true',
    'payment',
    faulty.payment_id::text,
    case
      when faulty.expected = 0 then 'no row'
      else '1 row of ' || faulty.expected || ' of customer ' || faulty.customer_id
    end,
    concat_ws(', ', faulty.mirror_rows || ' rows', faulty.found || ' together', faulty.fault)
  from private.unapplied_faults() as faulty;
end;
$$;

comment on function private.check_unapplied_payments() is
'Every broken invariant of unapplied payments as a row; none when all is well.';

revoke all on function private.check_unapplied_payments()
from public, anon, authenticated, service_role;
