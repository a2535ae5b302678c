-- Allocates a payment to its customer's opening balance: the core under the RPCs. Paying more of
-- it with the same payment adds to the row of the two.
--
-- p_amount: rupees, already checked. Returns what then remains of the opening balance.
-- Locks: the customer, then the payment, `for no key update`.

create or replace function private.allocate_to_opening_balance(
  p_payment_id uuid,
  p_customer_id uuid,
  p_amount numeric
)
returns numeric
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_remaining numeric;
  v_payment record;
begin
  -- lock
  select
    -- in whole paise, and nothing at all where a legacy balance is not a sum of money
    case
      when customer.opening_balance < 10000000000
        then trim_scale(
          trunc(greatest(customer.opening_balance - customer.opening_balance_paid, 0), 2)
        )
      else 0
    end
  into v_remaining
  from public.customers as customer
  where customer.id = p_customer_id
  for no key update;

  if not found then
    raise exception using
      errcode = 'PT404',
      message = 'customer_not_found',
      detail = jsonb_build_object('customer_id', p_customer_id)::text,
      hint = 'The customer does not exist or was deleted; reload the list of customers.';
  end if;

  select held.customer_id, held.available into v_payment
  from private.hold_to_allocate(p_payment_id) as held;

  -- check
  if v_payment.customer_id <> p_customer_id then
    raise exception using
      errcode = 'PT422',
      message = 'customer_mismatch',
      detail = jsonb_build_object(
        'payment_id', p_payment_id, 'customer_id', p_customer_id
      )::text,
      hint = 'A payment pays the opening balance of its own customer.';
  elsif p_amount > v_payment.available then
    raise exception using
      errcode = 'PT409',
      message = 'allocation_exceeds_payment',
      detail = jsonb_build_object(
        'payment_id', p_payment_id, 'requested', p_amount, 'available', v_payment.available
      )::text,
      hint = 'Allocate no more than what is left of the payment.';
  elsif p_amount > v_remaining then
    raise exception using
      errcode = 'PT409',
      message = 'allocation_exceeds_opening_balance',
      detail = jsonb_build_object(
        'customer_id', p_customer_id, 'requested', p_amount, 'available', v_remaining
      )::text,
      hint = 'Allocate no more than what remains of the opening balance.';
  end if;

  -- write
  insert into public.opening_balance_payments as allocation (customer_id, payment_id, amount)
  values (p_customer_id, p_payment_id, p_amount)
  on conflict (payment_id, customer_id) do update
  set
    amount = allocation.amount + excluded.amount,
    updated_at = now();

  -- return
  return v_remaining - p_amount;
end;
$$;

comment on function private.allocate_to_opening_balance(uuid, uuid, numeric) is
'Allocates a payment to its customer''s opening balance: the core. Returns what remains of it.';

revoke all on function private.allocate_to_opening_balance(uuid, uuid, numeric)
from public, anon, authenticated, service_role;
