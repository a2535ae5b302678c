-- Puts the truth into a row of unapplied_payments that somebody writes, this database included: what
-- a writer says of customer and amount is neither an error nor believed.
--
-- An inserted row takes the place of the one that the database made (keep_one_unapplied); where
-- nothing is left of the payment there is no row to write, and none comes back. An updated row stays
-- with its payment; one that should not be there at all keeps its amount until it is repaired.
--
-- Locks: on insert the payment, `for no key update`, before the row and its indexes. An update holds
-- its row, which every movement of the payment writes as well, and must not wait for the payment.

create or replace function private.put_true_unapplied()
returns trigger
language plpgsql
security definer -- row security must not hide the payment from whoever writes its mirror
set search_path = pg_catalog, pg_temp
as $$
declare
  v_payment public.payments;
  v_left numeric;
begin
  if tg_op = 'INSERT' then
    -- lock
    select payment.* into v_payment
    from public.payments as payment
    where payment.id = new.payment_id
    for no key update;

    if not found then
      return new; -- which the foreign key refuses
    end if;
  else
    new.payment_id := old.payment_id;

    select payment.* into v_payment
    from public.payments as payment
    where payment.id = new.payment_id;
  end if;

  v_left := private.left_of_payment(v_payment);

  -- write
  if v_left > 0 then
    new.customer_id := v_payment.customer_id;
    new.amount_unapplied := v_left;
  elsif tg_op = 'INSERT' then
    return null;
  else
    new.customer_id := old.customer_id;
    new.amount_unapplied := old.amount_unapplied;
  end if;

  return new;
end;
$$;

comment on function private.put_true_unapplied() is
'Trigger: puts the true customer and amount into a row of unapplied_payments.';

revoke all on function private.put_true_unapplied() from public, anon, authenticated, service_role;
