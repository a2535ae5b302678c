-- What unapplied_payments has to say of a payment, in rupees: what is left of it, and nothing of one
-- that is voided, that has no customer, or whose legacy amount is not a sum of money.
--
-- Locks: none.

create or replace function private.left_of_payment(p_payment public.payments)
returns numeric
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when
      p_payment.customer_id is not null
      and p_payment.voided_at is null
      and p_payment.amount_unapplied > 0
      and p_payment.amount_unapplied < 'Infinity' -- which NaN is not either
      then p_payment.amount_unapplied
    else 0
  end;
end;
$$;

comment on function private.left_of_payment(public.payments) is
'What unapplied_payments has to say of a payment, in rupees.';

revoke all on function private.left_of_payment(public.payments)
from public, anon, authenticated, service_role;
