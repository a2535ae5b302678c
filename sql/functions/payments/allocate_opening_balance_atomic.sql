-- Allocates a payment to its customer's opening balance in one step, both sides locked: of two
-- callers who see the same remaining balance, the second is refused what is no longer there.
--
-- With an idempotency key the same call gets its first answer again (see claim_request).
--
-- Refusals, raised so that nothing stays written:
--   PT400 payment_required, customer_required, amount_required, amount_invalid,
--         idempotency_key_invalid
--   PT404 payment_not_found, customer_not_found
--   PT409 allocation_exceeds_payment, allocation_exceeds_opening_balance, payment_voided,
--         idempotency_key_reused, request_undone
--   PT422 customer_mismatch, payment_without_customer
--
-- Locks: the idempotency key, the customer, the payment.

create or replace function public.allocate_opening_balance_atomic(
  p_payment_id uuid,
  p_customer_id uuid,
  p_amount numeric,
  out success boolean,
  out allocated_amount numeric,
  out total_allocated numeric,
  out payment_amount numeric,
  out unapplied_amount numeric,
  out allocation_status text,
  out opening_balance_remaining numeric
)
returns record
language plpgsql
volatile
security definer -- counters, keys and the journal are written by the database alone
set search_path = pg_catalog, pg_temp
as $$
declare
  v_key text := private.idempotency_key();
  v_outer_call text := coalesce(current_setting('pymilk.call_id', true), ''); -- in its trigger
  v_amount numeric := trim_scale(p_amount);
  v_arguments jsonb;
  v_request record;
begin
  if p_payment_id is null then
    raise exception using
      errcode = 'PT400',
      message = 'payment_required',
      detail = jsonb_build_object('p_payment_id', null)::text,
      hint = 'Name the payment to allocate.';
  elsif p_customer_id is null then
    raise exception using
      errcode = 'PT400',
      message = 'customer_required',
      detail = jsonb_build_object('p_customer_id', null)::text,
      hint = 'Name the customer whose opening balance is paid.';
  elsif v_amount is null then
    raise exception using
      errcode = 'PT400',
      message = 'amount_required',
      detail = jsonb_build_object('p_amount', null)::text,
      hint = 'Say how much of the payment goes to the opening balance.';
  elsif not (v_amount > 0 and v_amount < 10000000000 and scale(v_amount) <= 2) then
    raise exception using
      errcode = 'PT400',
      message = 'amount_invalid',
      detail = jsonb_build_object('given', left(p_amount::text, 200))::text,
      hint = 'An amount is above 0, below 10,000,000,000 and has at most two decimals.';
  end if;

  v_arguments := jsonb_build_object(
    'payment_id', p_payment_id, 'customer_id', p_customer_id, 'amount', v_amount
  );

  -- lock
  select claimed.call_id, claimed.answer into v_request
  from private.claim_request('allocate_opening_balance_atomic', v_key, v_arguments) as claimed;

  if v_request.answer is not null then
    select first_answer.*
    into
      success, allocated_amount, total_allocated, payment_amount, unapplied_amount,
      allocation_status, opening_balance_remaining
    from jsonb_to_record(v_request.answer) as first_answer (
      success boolean,
      allocated_amount numeric,
      total_allocated numeric,
      payment_amount numeric,
      unapplied_amount numeric,
      allocation_status text,
      opening_balance_remaining numeric
    );
    return;
  end if;

  -- check and write
  perform set_config('pymilk.call_id', v_request.call_id::text, true);

  opening_balance_remaining := private.allocate_to_opening_balance(
    p_payment_id, p_customer_id, v_amount
  );

  perform set_config('pymilk.call_id', v_outer_call, true);

  -- return
  success := true;
  allocated_amount := v_amount;

  select
    payment.amount_applied, payment.amount, payment.amount_unapplied, payment.allocation_status
  into total_allocated, payment_amount, unapplied_amount, allocation_status
  from public.payments as payment
  where payment.id = p_payment_id;

  perform private.finish_request(
    'allocate_opening_balance_atomic', v_key, v_arguments, v_request.call_id,
    jsonb_build_object(
      'success', success,
      'allocated_amount', allocated_amount,
      'total_allocated', total_allocated,
      'payment_amount', payment_amount,
      'unapplied_amount', unapplied_amount,
      'allocation_status', allocation_status,
      'opening_balance_remaining', opening_balance_remaining
    )
  );
end;
$$;

comment on function public.allocate_opening_balance_atomic(uuid, uuid, numeric) is
'Allocates a payment to its customer''s opening balance: never more than remains of either.

p_customer_id: whose opening balance; the payment must be theirs
allocated_amount: by this call
total_allocated: of the payment, by now
unapplied_amount: what is left of the payment
allocation_status payments.allocation_status
opening_balance_remaining: what the customer still owes of it
never null: all';

revoke all on function public.allocate_opening_balance_atomic(uuid, uuid, numeric)
from public, anon, authenticated, service_role;
grant execute on function public.allocate_opening_balance_atomic(uuid, uuid, numeric)
to authenticated, service_role;
