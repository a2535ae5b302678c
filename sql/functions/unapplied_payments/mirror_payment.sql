-- After a payment was recorded, or what is left of it, its customer or its being voided changed, by
-- whomever: brings unapplied_payments in line with it.
--
-- It looks at the payment as it is now: another trigger may have moved it since the row that this
-- one was called for.
--
-- Locks: none but the payment, which the statement holds.

create or replace function private.mirror_payment()
returns trigger
language plpgsql
security definer -- the mirror is the database's, whatever the caller may write
set search_path = pg_catalog, pg_temp
as $$
declare
  v_customer_id uuid;
  v_left numeric;
begin
  if
    tg_op = 'UPDATE'
    and new.amount_unapplied is not distinct from old.amount_unapplied
    and new.customer_id is not distinct from old.customer_id
    and new.voided_at is not distinct from old.voided_at
  then
    return null;
  end if;

  select payment.customer_id, private.left_of_payment(payment) into v_customer_id, v_left
  from public.payments as payment
  where payment.id = new.id;

  -- write
  if found then
    perform private.mirror_unapplied(new.id, v_customer_id, v_left);
  end if;

  return null;
end;
$$;

comment on function private.mirror_payment() is
'Trigger: brings unapplied_payments in line with a payment that moved.';

revoke all on function private.mirror_payment() from public, anon, authenticated, service_role;
