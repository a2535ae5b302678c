-- Locks a payment that is about to be allocated, and says whose it is and how much is left of it.
-- Refuses a payment that can't be allocated at all.
--
-- available: in whole paise, and nothing at all where a legacy amount is not a sum of money.
-- Locks: the payment, `for no key update`; its customer, where one is needed, goes before.

create or replace function private.hold_to_allocate(
  p_payment_id uuid,
  out customer_id uuid,
  out available numeric
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_voided_at timestamptz;
begin
  -- lock
  select
    payment.customer_id,
    case
      when payment.amount < 10000000000
        then trim_scale(trunc(greatest(payment.amount - payment.amount_applied, 0), 2))
      else 0
    end,
    payment.voided_at
  into customer_id, available, v_voided_at
  from public.payments as payment
  where payment.id = p_payment_id
  for no key update;

  -- check
  if not found then
    raise exception using
      errcode = 'PT404',
      message = 'payment_not_found',
      detail = jsonb_build_object('payment_id', p_payment_id)::text,
      hint = 'The payment does not exist or was deleted; reload it.';
  elsif v_voided_at is not null then
    raise exception using
      errcode = 'PT409',
      message = 'payment_voided',
      detail = jsonb_build_object('payment_id', p_payment_id, 'voided_at', v_voided_at)::text,
      hint = 'A voided payment takes no allocation; record a new payment.';
  elsif customer_id is null then
    raise exception using
      errcode = 'PT422',
      message = 'payment_without_customer',
      detail = jsonb_build_object('payment_id', p_payment_id)::text,
      hint = 'Set the customer of the payment, then allocate it.';
  end if;
end;
$$;

comment on function private.hold_to_allocate(uuid) is
'Locks a payment that is about to be allocated: whose it is and what is left of it.';

revoke all on function private.hold_to_allocate(uuid)
from public, anon, authenticated, service_role;
