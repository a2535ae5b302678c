-- Brings the rows of unapplied_payments of one payment in line with what is left of it: exactly one
-- row of that amount, none when nothing is left. The oldest row stays, with its reason.
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
  v_kept uuid;
begin
  if p_left > 0 then
    update public.unapplied_payments as mirror
    set amount_unapplied = p_left, customer_id = p_customer_id
    where mirror.id = (
      select oldest.id
      from public.unapplied_payments as oldest
      where oldest.payment_id = p_payment_id
      order by oldest.created_at, oldest.id
      limit 1
    )
    returning mirror.id into v_kept;

    if not found then
      insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied)
      values (p_customer_id, p_payment_id, p_left);
      return;
    end if;
  end if;

  delete from public.unapplied_payments as mirror
  where mirror.payment_id = p_payment_id and mirror.id is distinct from v_kept;
end;
$$;

comment on function private.mirror_unapplied(uuid, uuid, numeric) is
'Brings unapplied_payments in line with what is left of one payment.';

revoke all on function private.mirror_unapplied(uuid, uuid, numeric)
from public, anon, authenticated, service_role;
