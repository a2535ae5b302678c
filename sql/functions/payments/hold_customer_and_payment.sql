-- Holds a payment, and its customer before it, until the transaction ends: where money may come off
-- an opening balance the customer's row moves too, and customers come before payments.
--
-- Refusals: PT400 payment_required; PT404 payment_not_found.
--
-- Locks: the customer, then the payment, `for no key update`.

create or replace function private.hold_customer_and_payment(p_payment_id uuid)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_payment_id is null then
    raise exception using
      errcode = 'PT400',
      message = 'payment_required',
      detail = jsonb_build_object('p_payment_id', null)::text,
      hint = 'Name the payment.';
  end if;

  -- lock
  perform
  from public.customers as customer
  where customer.id = (
    select payment.customer_id from public.payments as payment where payment.id = p_payment_id
  )
  for no key update;

  perform
  from public.payments as payment
  where payment.id = p_payment_id
  for no key update;

  if not found then
    raise exception using
      errcode = 'PT404',
      message = 'payment_not_found',
      detail = jsonb_build_object('payment_id', p_payment_id)::text,
      hint = 'The payment does not exist or was deleted; reload it.';
  end if;
end;
$$;

comment on function private.hold_customer_and_payment(uuid) is
'Holds a payment and its customer until the transaction ends.';

revoke all on function private.hold_customer_and_payment(uuid)
from public, anon, authenticated, service_role;
