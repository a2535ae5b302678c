-- Allocates a payment to invoices in one step: all lines or none, both sides locked, the totals and
-- statuses of both sides and what is left unapplied written in the same transaction, by triggers.
--
-- With an idempotency key the same call gets its first answer again (see claim_request).
--
-- Refusals, raised so that nothing stays written:
--   PT400 payment_required, allocations_not_a_list, allocations_empty, allocation_malformed,
--         amount_invalid, idempotency_key_invalid
--   PT404 payment_not_found, invoice_not_found
--   PT409 allocation_exceeds_payment, allocation_exceeds_invoice, invoice_cancelled,
--         payment_voided, idempotency_key_reused, request_undone
--   PT422 invoice_named_twice, customer_mismatch, payment_without_customer
--
-- Locks: the idempotency key, then the payment, then the invoices by id.

create or replace function public.allocate_payment_atomic(
  p_payment_id uuid,
  p_allocations jsonb,
  p_validate_amounts boolean default true,
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
  v_refuse_excess boolean := coalesce(p_validate_amounts, true);
  v_lines record;
  v_invoice_ids uuid[];
  v_amounts numeric[];
  v_arguments jsonb;
  v_request record;
  v_applied numeric[];
  v_told jsonb[];
begin
  if p_payment_id is null then
    raise exception using
      errcode = 'PT400',
      message = 'payment_required',
      detail = jsonb_build_object('p_payment_id', null)::text,
      hint = 'Name the payment to allocate.';
  end if;

  v_lines := private.parse_allocations(p_allocations);
  v_invoice_ids := v_lines.invoice_ids;
  v_amounts := v_lines.amounts;

  if v_key is not null then
    v_arguments := jsonb_build_object(
      'payment_id', p_payment_id,
      'invoice_ids', v_invoice_ids,
      'amounts', v_amounts,
      'validate_amounts', v_refuse_excess
    );
  end if;

  -- lock
  v_request := private.claim_request('allocate_payment_atomic', v_key, v_arguments);

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

  v_applied := private.allocate_to_invoices(
    p_payment_id, v_invoice_ids, v_amounts, v_refuse_excess
  );

  perform set_config('pymilk.call_id', v_outer_call, true);

  select
    payment.amount,
    payment.amount_applied,
    payment.amount_unapplied,
    payment.allocation_status
  into payment_amount, total_allocated, unapplied_amount, allocation_status
  from public.payments as payment
  where payment.id = p_payment_id;

  -- return
  success := true;
  allocated_amount := 0;

  for v_line in 1..cardinality(v_applied) loop
    allocated_amount := allocated_amount + v_applied[v_line];
    v_told[v_line] := jsonb_build_object(
      'invoice_id', v_invoice_ids[v_line],
      'requested', v_amounts[v_line],
      'applied', v_applied[v_line]
    );
  end loop;

  applied := to_jsonb(v_told);

  if v_key is not null then
    perform private.finish_request(
      'allocate_payment_atomic', v_key, v_arguments, v_request.call_id,
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
  end if;
end;
$$;

comment on function public.allocate_payment_atomic(uuid, jsonb, boolean) is
'Allocates a payment to invoices, all lines or none.

p_payment_id: the payment
p_allocations [{"invoice_id": uuid, "amount": numeric}]: which invoice gets how much, each once
p_validate_amounts: false cuts each line to what payment and invoice can take
allocated_amount: by this call
total_allocated: of the payment, by now
unapplied_amount: what is left of the payment
allocation_status payments.allocation_status
applied [{"invoice_id": uuid, "requested": numeric, "applied": numeric}]: in the order given
never null: all';

revoke all on function public.allocate_payment_atomic(uuid, jsonb, boolean)
from public, anon, authenticated, service_role;
grant execute on function public.allocate_payment_atomic(uuid, jsonb, boolean)
to authenticated, service_role;
