-- Changes the amount of a payment, or what it pays of invoices, or both, in one step.
--
-- p_amount null keeps the amount. p_allocations null keeps the allocations, and refuses an amount
-- below them; a list, [{"invoiceId": uuid, "amount": number}], replaces what the payment pays of
-- invoices, lowering and raising at once; [] takes all of it off. What it pays of the opening
-- balance and of sales stays, and counts. allocated_amount and applied tell what the list allocated.
--
-- With an idempotency key the same call gets its first answer again (see claim_request).
--
-- Refusals, raised so that nothing stays written:
--   PT400 payment_required, amount_invalid, allocations_not_a_list, allocation_malformed,
--         reason_too_long, idempotency_key_invalid
--   PT404 payment_not_found, invoice_not_found
--   PT409 payment_voided, amount_below_allocated, allocation_exceeds_payment,
--         allocation_exceeds_invoice, invoice_cancelled, idempotency_key_reused
--   PT422 invoice_named_twice, customer_mismatch, payment_without_customer
--
-- Locks: the idempotency key, the payment, its invoices before and after by id, their sales by id.

create or replace function public.update_payment_atomic(
  p_payment_id uuid,
  p_amount numeric,
  p_allocations jsonb,
  p_reason text,
  out success boolean,
  out allocated_amount numeric,
  out total_allocated numeric,
  out payment_amount numeric,
  out unapplied_amount numeric,
  out allocation_status text,
  out applied jsonb
)
returns record
language plpgsql
volatile
security definer -- counters, keys and the journal are written by the database alone
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew took half of a call's time
as $$
declare
  v_key text := private.idempotency_key();
  v_outer_call text := coalesce(current_setting('pymilk.call_id', true), ''); -- in its trigger
  v_reason text := private.given_reason(p_reason);
  v_invoice_ids uuid[];
  v_amounts numeric[];
  v_arguments jsonb;
  v_request record;
begin
  if p_payment_id is null then
    raise exception using
      errcode = 'PT400',
      message = 'payment_required',
      detail = jsonb_build_object('p_payment_id', null)::text,
      hint = 'Name the payment to change.';
  elsif not (p_amount > 0 and p_amount < 10000000000 and p_amount = round(p_amount, 2)) then
    raise exception using
      errcode = 'PT400',
      message = 'amount_invalid',
      detail = jsonb_build_object('given', left(p_amount::text, 200))::text,
      hint = 'An amount is above 0, below 10,000,000,000 and has at most two decimals.';
  end if;

  if p_allocations = '[]' then
    v_invoice_ids := '{}';
    v_amounts := '{}';
  elsif p_allocations is not null then
    select parsed.invoice_ids, parsed.amounts into v_invoice_ids, v_amounts
    from private.parse_allocations(p_allocations) as parsed;
  end if;

  v_arguments := jsonb_build_object(
    'payment_id', p_payment_id,
    'amount', trim_scale(p_amount),
    'invoice_ids', v_invoice_ids,
    'amounts', v_amounts,
    'reason', v_reason
  );

  -- lock
  select claimed.call_id, claimed.answer into v_request
  from private.claim_request('update_payment_atomic', v_key, v_arguments) as claimed;

  if v_request.answer is not null then
    select first_answer.*
    into
      success, allocated_amount, total_allocated, payment_amount, unapplied_amount,
      allocation_status, applied
    from jsonb_to_record(v_request.answer) as first_answer (
      success boolean,
      allocated_amount numeric,
      total_allocated numeric,
      payment_amount numeric,
      unapplied_amount numeric,
      allocation_status text,
      applied jsonb
    );
    return;
  end if;

  -- check and write
  perform set_config('pymilk.call_id', v_request.call_id::text, true);
  perform set_config('pymilk.reason', coalesce(v_reason, ''), true);

  perform private.change_payment(p_payment_id, trim_scale(p_amount), v_invoice_ids, v_amounts);

  perform set_config('pymilk.call_id', v_outer_call, true);
  perform set_config('pymilk.reason', '', true);

  -- return
  success := true;

  select
    balanced.payment_amount,
    balanced.total_allocated,
    balanced.unapplied_amount,
    balanced.allocation_status
  into payment_amount, total_allocated, unapplied_amount, allocation_status
  from private.balance_payment(p_payment_id) as balanced;

  select
    coalesce(sum(line.amount), 0),
    coalesce(
      jsonb_agg(
        jsonb_build_object(
          'invoice_id', line.invoice_id, 'requested', line.amount, 'applied', line.amount
        )
        order by line.position
      ),
      '[]'
    )
  into allocated_amount, applied
  from unnest(v_invoice_ids, v_amounts) with ordinality as line (invoice_id, amount, position);

  perform private.finish_request(
    'update_payment_atomic', v_key, v_arguments, v_request.call_id,
    jsonb_build_object(
      'success', success,
      'allocated_amount', allocated_amount,
      'total_allocated', total_allocated,
      'payment_amount', payment_amount,
      'unapplied_amount', unapplied_amount,
      'allocation_status', allocation_status,
      'applied', applied
    )
  );
end;
$$;

comment on function public.update_payment_atomic(uuid, numeric, jsonb, text) is
'Changes the amount of a payment, or what it pays of invoices, or both.

p_amount numeric | null: null keeps it
p_allocations [{"invoice_id": uuid, "amount": numeric}] | null: null keeps them, [] takes all off
p_reason text | null: kept with the change
allocated_amount: to the invoices that were given
total_allocated: of the payment, by now
unapplied_amount: what is left of the payment
allocation_status payments.allocation_status
applied [{"invoice_id": uuid, "requested": numeric, "applied": numeric}]
never null: all';

revoke all on function public.update_payment_atomic(uuid, numeric, jsonb, text)
from public, anon, authenticated, service_role;
grant execute on function public.update_payment_atomic(uuid, numeric, jsonb, text)
to authenticated, service_role;
