-- Keeps a row of unapplied_payments that somebody deletes while something is left of its payment: no
-- error, and no row deleted. A row that should not be there goes.
--
-- Locks: none. The delete holds its row, which every movement of the payment writes as well: what is
-- left of the payment cannot change unseen, and the delete must not wait for the payment.

create or replace function private.keep_unapplied()
returns trigger
language plpgsql
security definer -- row security must not hide the payment from whoever deletes its mirror
set search_path = pg_catalog, pg_temp
as $$
begin
  -- check
  perform
  from public.payments as payment
  where payment.id = old.payment_id and private.left_of_payment(payment) > 0;

  if found then
    return null;
  end if;

  return old;
end;
$$;

comment on function private.keep_unapplied() is
'Trigger: a row of unapplied_payments stays while something is left of its payment.';

revoke all on function private.keep_unapplied() from public, anon, authenticated, service_role;
