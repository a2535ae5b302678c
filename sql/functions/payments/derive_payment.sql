-- Puts what follows from the allocations into a payment that somebody inserts or updates: whatever
-- the caller says of it is neither an error nor believed.
--
-- The counter only moves inside the triggers of the allocation tables, in an update that names counters
-- alone; that one does without this (outside_our_triggers). The amount, which the caller may change,
-- is taken as given. Nothing is left of a voided payment; when it was voided, and by whom, is not the
-- caller's word either.
--
-- Locks: none but the row's own.

create or replace function private.derive_payment()
returns trigger
language plpgsql
security definer -- the same for every caller, whatever that caller may execute
set search_path = pg_catalog, pg_temp
as $$
begin
  new.amount_applied := case when tg_op = 'UPDATE' then old.amount_applied else 0 end;
  new.amount_unapplied := case
    when new.voided_at is not null then 0
    else new.amount - new.amount_applied
  end;
  new.allocation_status := case
    when new.amount_applied <= 0 then 'unapplied'
    when new.amount_applied < new.amount then 'partially_applied'
    else 'fully_applied'
  end;

  if new.voided_at is null then
    new.voided_by := null;
    new.void_reason := null;
  elsif tg_op = 'UPDATE' and old.voided_at is null then
    new.voided_at := now();
    new.voided_by := private.caller();
  end if;

  return new;
end;
$$;

comment on function private.derive_payment() is
'Trigger: puts the true amount_applied, amount_unapplied and allocation_status.';

revoke all on function private.derive_payment() from public, anon, authenticated, service_role;
