-- Allocates a payment to Credit sales in one step, all or none, each sale paid whole.
--
-- p_allocations: [{"saleId": uuid}]; an amount may be given and must then be what remains of it.
-- With an idempotency key the same call gets its first answer again (see claim_request).
--
-- Refusals, raised so that nothing stays written:
--   PT400 payment_required, allocations_not_a_list, allocations_empty, allocation_malformed,
--         amount_invalid, idempotency_key_invalid
--   PT404 payment_not_found, sale_not_found
--   PT409 allocation_exceeds_payment, sale_billed, sale_already_paid, payment_voided,
--         idempotency_key_reused, request_undone
--   PT422 sale_named_twice, sale_not_payable, sale_paid_whole, customer_mismatch,
--         payment_without_customer
--
-- Locks: the idempotency key, the payment, the sales by id.

create or replace function public.allocate_payment_to_sales_atomic(
  p_payment_id uuid,
  p_allocations jsonb,
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
  v_lines record;
  v_arguments jsonb;
  v_request record;
  v_applied numeric[];
begin
  if p_payment_id is null then
    raise exception using
      errcode = 'PT400',
      message = 'payment_required',
      detail = jsonb_build_object('p_payment_id', null)::text,
      hint = 'Name the payment to allocate.';
  end if;

  select parsed.sale_ids, parsed.amounts into v_lines
  from private.parse_sales(p_allocations) as parsed;

  v_arguments := jsonb_build_object(
    'payment_id', p_payment_id, 'sale_ids', v_lines.sale_ids, 'amounts', v_lines.amounts
  );

  -- lock
  select claimed.call_id, claimed.answer into v_request
  from private.claim_request('allocate_payment_to_sales_atomic', v_key, v_arguments) as claimed;

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

  v_applied := private.allocate_to_sales(p_payment_id, v_lines.sale_ids, v_lines.amounts);

  perform set_config('pymilk.call_id', v_outer_call, true);

  -- return
  success := true;

  select
    payment.amount_applied, payment.amount, payment.amount_unapplied, payment.allocation_status
  into total_allocated, payment_amount, unapplied_amount, allocation_status
  from public.payments as payment
  where payment.id = p_payment_id;

  select
    sum(line.applied),
    jsonb_agg(
      jsonb_build_object('sale_id', line.sale_id, 'applied', line.applied) order by line.position
    )
  into allocated_amount, applied
  from unnest(v_lines.sale_ids, v_applied)
    with ordinality as line (sale_id, applied, position);

  perform private.finish_request(
    'allocate_payment_to_sales_atomic', v_key, v_arguments, v_request.call_id,
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

comment on function public.allocate_payment_to_sales_atomic(uuid, jsonb) is
'Allocates a payment to Credit sales, each paid whole, all or none.

p_payment_id: the payment
p_allocations [{"sale_id": uuid, "amount"?: numeric}]: which sales; the amount only says it again
allocated_amount: by this call
total_allocated: of the payment, by now
unapplied_amount: what is left of the payment
allocation_status payments.allocation_status
applied [{"sale_id": uuid, "applied": numeric}]: in the order given
never null: all';

revoke all on function public.allocate_payment_to_sales_atomic(uuid, jsonb)
from public, anon, authenticated, service_role;
grant execute on function public.allocate_payment_to_sales_atomic(uuid, jsonb)
to authenticated, service_role;
