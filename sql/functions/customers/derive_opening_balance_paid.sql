-- Puts the true opening_balance_paid into a customer that somebody inserts or updates: whatever the
-- caller says of it is neither an error nor believed.
--
-- The counter only moves inside the triggers of opening_balance_payments, which is why this one
-- runs at trigger depth 0 alone.
--
-- Locks: none but the row's own.

create or replace function private.derive_opening_balance_paid()
returns trigger
language plpgsql
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  new.opening_balance_paid := case when tg_op = 'UPDATE' then old.opening_balance_paid else 0 end;

  return new;
end;
$$;

comment on function private.derive_opening_balance_paid() is
'Trigger: puts the true opening_balance_paid.';

revoke all on function private.derive_opening_balance_paid()
from public, anon, authenticated, service_role;
