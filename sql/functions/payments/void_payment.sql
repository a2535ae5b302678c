-- Voids a payment, such as a cheque that bounced: takes it off everything that it pays and out of
-- every sum. Its row stays, with who voided it, when and why; a voided payment takes no allocation
-- and stays voided.
--
-- With an idempotency key the same call gets its first answer again (see claim_request).
--
-- Refusals:
--   PT400 payment_required, reason_required, reason_too_long, idempotency_key_invalid
--   PT404 payment_not_found
--   PT409 payment_voided, idempotency_key_reused
--
-- Locks: the idempotency key, the customer, the payment, its invoices by id, its sales by id.

create or replace function public.void_payment(
  p_payment_id uuid,
  p_reason text,
  out success boolean,
  out affected_invoices integer,
  out removed_amount numeric,
  out payment_amount numeric,
  out voided_at timestamptz
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
  v_reason text := private.given_reason(p_reason);
  v_arguments jsonb := jsonb_build_object('payment_id', p_payment_id, 'reason', v_reason);
  v_request record;
  v_payment record;
begin
  if v_reason is null then
    raise exception using
      errcode = 'PT400',
      message = 'reason_required',
      detail = jsonb_build_object('p_reason', p_reason)::text,
      hint = 'Say why the payment is voided, such as: cheque returned by the bank.';
  end if;

  -- lock
  select claimed.call_id, claimed.answer into v_request
  from private.claim_request('void_payment', v_key, v_arguments) as claimed;

  if v_request.answer is not null then
    select first_answer.*
    into success, affected_invoices, removed_amount, payment_amount, voided_at
    from jsonb_to_record(v_request.answer) as first_answer (
      success boolean,
      affected_invoices integer,
      removed_amount numeric,
      payment_amount numeric,
      voided_at timestamptz
    );
    return;
  end if;

  perform private.hold_customer_and_payment(p_payment_id);
  perform private.hold_targets(p_payment_id, '{}');

  -- check
  select payment.amount_applied, payment.voided_at, payment.voided_by, payment.void_reason
  into v_payment
  from public.payments as payment
  where payment.id = p_payment_id;

  if v_payment.voided_at is not null then
    raise exception using
      errcode = 'PT409',
      message = 'payment_voided',
      detail = jsonb_build_object(
        'payment_id', p_payment_id,
        'voided_at', v_payment.voided_at,
        'voided_by', v_payment.voided_by,
        'void_reason', v_payment.void_reason
      )::text,
      hint = 'The payment is voided already; record a new one for new money.';
  end if;

  -- write
  perform set_config('pymilk.call_id', v_request.call_id::text, true);
  perform set_config('pymilk.reason', v_reason, true);

  delete from public.invoice_payments as allocation
  where allocation.payment_id = p_payment_id;
  get diagnostics affected_invoices = row_count;

  delete from public.opening_balance_payments as allocation
  where allocation.payment_id = p_payment_id;

  delete from public.sales_payments as allocation
  where allocation.payment_id = p_payment_id;

  -- the trigger derive_payment puts who did it, and that nothing is left
  update public.payments as payment
  set voided_at = now(), void_reason = v_reason, updated_at = now()
  where payment.id = p_payment_id
  returning payment.amount, payment.voided_at into payment_amount, voided_at;

  perform set_config('pymilk.call_id', v_outer_call, true);
  perform set_config('pymilk.reason', '', true);

  -- return
  success := true;
  removed_amount := v_payment.amount_applied;

  perform private.finish_request(
    'void_payment', v_key, v_arguments, v_request.call_id,
    jsonb_build_object(
      'success', success,
      'affected_invoices', affected_invoices,
      'removed_amount', removed_amount,
      'payment_amount', payment_amount,
      'voided_at', voided_at
    )
  );
end;
$$;

comment on function public.void_payment(uuid, text) is
'Voids a payment: off everything that it pays, out of every sum, for good.

p_reason: it is not done without one
removed_amount: taken off invoices, opening balance and sales
never null: all';

revoke all on function public.void_payment(uuid, text)
from public, anon, authenticated, service_role;
grant execute on function public.void_payment(uuid, text) to authenticated, service_role;
