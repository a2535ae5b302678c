-- Takes a payment off invoices: off those that are named, or off all that it pays. The money is the
-- customer's credit afterwards. What it pays of the opening balance and of sales stays.
--
-- With an idempotency key the same call gets its first answer again (see claim_request).
--
-- Refusals:
--   PT400 payment_required, invoice_ids_invalid, reason_too_long, idempotency_key_invalid
--   PT404 payment_not_found, allocation_not_found
--   PT409 idempotency_key_reused
--
-- Locks: the idempotency key, the customer, the payment, its invoices by id, its sales by id.

create or replace function public.unallocate_payment(
  p_payment_id uuid,
  p_invoice_ids uuid[],
  p_reason text,
  out success boolean,
  out affected_invoices integer,
  out removed_amount numeric,
  out total_allocated numeric,
  out payment_amount numeric,
  out unapplied_amount numeric,
  out allocation_status text
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
  v_arguments jsonb;
  v_request record;
  v_missing uuid;
begin
  -- unnest reads a list of lists too, where array_position fails
  if
    cardinality(p_invoice_ids) = 0
    or exists (select from unnest(p_invoice_ids) as named (id) where named.id is null)
  then
    raise exception using
      errcode = 'PT400',
      message = 'invoice_ids_invalid',
      detail = jsonb_build_object('p_invoice_ids', p_invoice_ids)::text,
      hint = 'Name the invoices, each by its id, or send null for all that the payment pays.';
  end if;

  v_arguments := jsonb_build_object(
    'payment_id', p_payment_id,
    'invoice_ids', (
      select jsonb_agg(distinct named.invoice_id)
      from unnest(p_invoice_ids) as named (invoice_id)
    ),
    'reason', v_reason
  );

  -- lock
  select claimed.call_id, claimed.answer into v_request
  from private.claim_request('unallocate_payment', v_key, v_arguments) as claimed;

  if v_request.answer is not null then
    select first_answer.*
    into
      success, affected_invoices, removed_amount, total_allocated, payment_amount,
      unapplied_amount, allocation_status
    from jsonb_to_record(v_request.answer) as first_answer (
      success boolean,
      affected_invoices integer,
      removed_amount numeric,
      total_allocated numeric,
      payment_amount numeric,
      unapplied_amount numeric,
      allocation_status text
    );
    return;
  end if;

  perform private.hold_customer_and_payment(p_payment_id);
  perform private.hold_targets(p_payment_id, '{}');

  -- check
  select named.invoice_id into v_missing
  from unnest(p_invoice_ids) with ordinality as named (invoice_id, position)
  where not exists (
    select
    from public.invoice_payments as allocation
    where allocation.payment_id = p_payment_id and allocation.invoice_id = named.invoice_id
  )
  order by named.position
  limit 1;

  if found then
    raise exception using
      errcode = 'PT404',
      message = 'allocation_not_found',
      detail = jsonb_build_object('payment_id', p_payment_id, 'invoice_id', v_missing)::text,
      hint = 'The payment does not pay this invoice (any more); reload the payment.';
  end if;

  -- write
  perform set_config('pymilk.call_id', v_request.call_id::text, true);
  perform set_config('pymilk.reason', coalesce(v_reason, ''), true);

  with gone as (
    delete from public.invoice_payments as allocation
    where allocation.payment_id = p_payment_id
      and (p_invoice_ids is null or allocation.invoice_id = any(p_invoice_ids))
    returning allocation.amount_allocated
  )

  select count(*)::integer, coalesce(sum(gone.amount_allocated), 0)
  into affected_invoices, removed_amount
  from gone;

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

  perform private.finish_request(
    'unallocate_payment', v_key, v_arguments, v_request.call_id,
    jsonb_build_object(
      'success', success,
      'affected_invoices', affected_invoices,
      'removed_amount', removed_amount,
      'total_allocated', total_allocated,
      'payment_amount', payment_amount,
      'unapplied_amount', unapplied_amount,
      'allocation_status', allocation_status
    )
  );
end;
$$;

comment on function public.unallocate_payment(uuid, uuid[], text) is
'Takes a payment off invoices that it pays.

p_invoice_ids uuid[] | null: null takes it off all of them
p_reason text | null: kept with the change
total_allocated: of the payment, by now
unapplied_amount: what is left of the payment
allocation_status payments.allocation_status
never null: all';

revoke all on function public.unallocate_payment(uuid, uuid[], text)
from public, anon, authenticated, service_role;
grant execute on function public.unallocate_payment(uuid, uuid[], text)
to authenticated, service_role;
