-- Brings the rows of unapplied_payments of one payment in line with what is left of it: exactly one
-- row of that amount, none when nothing is left. The oldest row stays, with its reason.
--
-- It is the one place that writes the mirror of a payment, called after every movement of one
-- (mirror_payment). There is no unique constraint to rely upon: whoever writes a row for a payment
-- holds the payment, and so they come one after the other.
--
-- p_left: rupees.
-- Locks: the caller holds the payment.

create or replace function private.mirror_unapplied(
  p_payment_id uuid,
  p_customer_id uuid,
  p_left numeric
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_rows bigint;
begin
  if p_left > 0 then
    update public.unapplied_payments as mirror
    set amount_unapplied = p_left, customer_id = p_customer_id
    where mirror.payment_id = p_payment_id;
    get diagnostics v_rows = row_count;

    if v_rows = 0 then
      insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied)
      values (p_customer_id, p_payment_id, p_left);
    elsif v_rows > 1 then
      delete from public.unapplied_payments as mirror
      where mirror.payment_id = p_payment_id
        and mirror.id <> (
          select oldest.id
          from public.unapplied_payments as oldest
          where oldest.payment_id = p_payment_id
          order by oldest.created_at, oldest.id
          limit 1
        );
    end if;
  else
    delete from public.unapplied_payments as mirror
    where mirror.payment_id = p_payment_id;
  end if;
end;
$$;

comment on function private.mirror_unapplied(uuid, uuid, numeric) is
'Brings unapplied_payments in line with what is left of one payment.';

revoke all on function private.mirror_unapplied(uuid, uuid, numeric)
from public, anon, authenticated, service_role;
