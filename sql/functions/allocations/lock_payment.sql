-- Locks the payment before its allocation is written.
--
-- Without it a direct insert would take the unique key of (target, payment) first and then wait for
-- the payment, while an RPC holds the payment and waits for the key: a deadlock. The RPCs hold the
-- payment already.
--
-- Locks: the payment, `for no key update`.

create or replace function private.lock_payment()
returns trigger
language plpgsql
security definer -- an invoker whom row security filters would lock nothing, silently
set search_path = pg_catalog, pg_temp
as $$
begin
  if current_setting('pymilk.call_id', true) <> '' then
    return new;
  end if;

  perform
  from public.payments as payment
  where payment.id = new.payment_id
  for no key update;

  return new;
end;
$$;

comment on function private.lock_payment() is
'Trigger: locks the payment before a row of its allocations is inserted or updated.';

revoke all on function private.lock_payment() from public, anon, authenticated, service_role;
