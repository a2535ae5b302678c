-- Keeps a row of unapplied_payments that somebody deletes while something is left of its payment: no
-- error, and no row deleted. A row that should not be there goes.
--
-- Who deletes it, this database or a trigger of somebody else's, is not asked, since both write as the
-- owner. Inside of a trigger one of several rows goes: only those that are too many are taken away
-- there (mirror_unapplied, keep_one_unapplied).
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
  where payment.id = old.payment_id
    and payment.amount_unapplied > 0 -- what is used up needs no further question
    and private.left_of_payment(payment) > 0;

  if not found then
    return old;
  end if;

  if pg_trigger_depth() > 1 then
    perform
    from public.unapplied_payments as other
    where other.payment_id = old.payment_id and other.id <> old.id;

    if found then
      return old;
    end if;
  end if;

  return null;
end;
$$;

comment on function private.keep_unapplied() is
'Trigger: a row of unapplied_payments stays while something is left of its payment.';

revoke all on function private.keep_unapplied() from public, anon, authenticated, service_role;
