-- Locks the customer, then the payment, before a row of opening_balance_payments is written.
--
-- Without it a direct insert would take the unique key of (payment, customer) first and then wait
-- for the two, while an RPC holds them and waits for the key: a deadlock. The RPCs hold both
-- already, so the trigger's WHEN clause spares them the call.
--
-- Locks: the customer, then the payment, `for no key update`.

create or replace function private.lock_customer_and_payment()
returns trigger
language plpgsql
security definer -- an invoker whom row security filters would lock nothing, silently
set search_path = pg_catalog, pg_temp
as $$
begin
  perform
  from public.customers as customer
  where customer.id = new.customer_id
  for no key update;

  perform
  from public.payments as payment
  where payment.id = new.payment_id
  for no key update;

  return new;
end;
$$;

comment on function private.lock_customer_and_payment() is
'Trigger: locks customer and payment before a row of opening_balance_payments is written.';

revoke all on function private.lock_customer_and_payment()
from public, anon, authenticated, service_role;
