-- Undoes an allocation that didn't come to its end, and nothing else.
--
-- With an idempotency key, which here names the call to undo: exactly what is still there of that
-- call's allocations. The key is spent afterwards, known or not: the original, should it arrive
-- late, is refused (request_undone). It waits for a call with that key that is still in flight. The
-- same key again gets the first answer again. Calls that it made of other payments stand, until they
-- are undone likewise.
--
-- Without a key: what direct writes put there in the last 15 minutes. What an RPC committed stays,
-- so a compensation after a time-out can't undo an allocation that was made after all.
--
-- payment_reset_to_unapplied: this took off the last that was allocated of the payment.
--
-- Refusals:
--   PT400 payment_required, idempotency_key_invalid
--   PT404 payment_not_found
--   PT409 key_of_another_payment, key_not_undoable
--
-- Locks: the idempotency key, the customer, the payment, its invoices by id, its sales by id.

create or replace function public.rollback_partial_allocation(
  p_payment_id uuid,
  out success boolean,
  out affected_invoices integer,
  out removed_amount numeric,
  out payment_reset_to_unapplied boolean
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
  v_caller text := private.caller();
  v_arguments jsonb := jsonb_build_object('payment_id', p_payment_id);
  v_known record;
  v_undo_id uuid := gen_random_uuid();
  v_call_id uuid;
  v_undone record;
  v_answer jsonb;
  v_status text;
begin
  -- lock
  if v_key is not null then
    perform private.lock_request(v_caller, v_key);
  end if;

  perform private.hold_customer_and_payment(p_payment_id);
  perform private.hold_targets(p_payment_id, '{}');

  -- check
  select
    array_agg(request.call_id) filter (where request.named) as call_ids,
    coalesce(bool_or(request.undoable), false) as undoable,
    count(*) as requests,
    jsonb_agg(request.told) filter (where request.told is not null) -> 0 as answer
  into v_known
  from (
    select
      known.call_id,
      case
        when known.function_name <> 'rollback_partial_allocation' then null
        when known.arguments = v_arguments then known.answer
        else known.answer -> 'of_other_payments' -> p_payment_id::text
      end as told,
      known.function_name = any(private.undoable_functions())
      or known.function_name = 'rollback_partial_allocation' as undoable,
      known.function_name = any(private.undoable_functions())
      and coalesce(known.arguments ->> 'payment_id', known.answer ->> 'payment_id')
        = p_payment_id::text as named
    from private.request_keys as known
    where known.caller = v_caller
      and known.key = v_key
      and known.recorded_at > now() - interval '30 days'
  ) as request;

  if v_known.answer is not null then
    select first_answer.*
    into success, affected_invoices, removed_amount, payment_reset_to_unapplied
    from jsonb_to_record(v_known.answer) as first_answer (
      success boolean,
      affected_invoices integer,
      removed_amount numeric,
      payment_reset_to_unapplied boolean
    );
    return;
  elsif v_known.requests > 0 and v_known.call_ids is null then
    if v_known.undoable then
      raise exception using
        errcode = 'PT409',
        message = 'key_of_another_payment',
        detail = jsonb_build_object('key', v_key, 'payment_id', p_payment_id)::text,
        hint = 'Send the payment that the call with this key was about.';
    end if;

    raise exception using
      errcode = 'PT409',
      message = 'key_not_undoable',
      detail = jsonb_build_object('key', v_key, 'payment_id', p_payment_id)::text,
      hint = 'Only calls that allocate can be undone by their key.';
  end if;

  -- write
  perform set_config('pymilk.reason', 'rolled back', true);
  affected_invoices := 0;
  removed_amount := 0;

  foreach v_call_id in array
    case when v_key is null then array[null::uuid] else coalesce(v_known.call_ids, '{}') end
  loop
    -- the journal takes it off the call that put it there: what others put there stays theirs
    perform set_config('pymilk.call_id', coalesce(v_call_id, v_undo_id)::text, true);

    select undone.affected_invoices, undone.removed_amount into v_undone
    from private.undo_call(p_payment_id, v_call_id) as undone;

    affected_invoices := affected_invoices + v_undone.affected_invoices;
    removed_amount := removed_amount + v_undone.removed_amount;
  end loop;

  perform set_config('pymilk.call_id', v_outer_call, true);
  perform set_config('pymilk.reason', '', true);

  select balanced.allocation_status into v_status
  from private.balance_payment(p_payment_id) as balanced;

  -- return
  success := true;
  payment_reset_to_unapplied := removed_amount > 0 and v_status = 'unapplied';

  v_answer := jsonb_build_object(
    'success', success,
    'affected_invoices', affected_invoices,
    'removed_amount', removed_amount,
    'payment_reset_to_unapplied', payment_reset_to_unapplied
  );

  perform private.finish_request(
    'rollback_partial_allocation', v_key, v_arguments, v_undo_id, v_answer
  );

  -- a key that calls of several payments bear has one row for all that is undone by it
  update private.request_keys as request
  set answer = request.answer || jsonb_build_object(
    'of_other_payments',
    coalesce(request.answer -> 'of_other_payments', '{}')
    || jsonb_build_object(p_payment_id::text, v_answer)
  )
  where request.caller = v_caller
    and request.function_name = 'rollback_partial_allocation'
    and request.key = v_key
    and request.arguments <> v_arguments;

  update private.request_keys as request
  set undone_at = now()
  where request.caller = v_caller
    and request.key = v_key
    and request.call_id = any(array[v_undo_id] || v_known.call_ids);
end;
$$;

comment on function public.rollback_partial_allocation(uuid) is
'Undoes an allocation that didn''t come to its end, and nothing else.

Without a key it takes off what direct writes allocated in the last 15 minutes. What an RPC
committed is never undone without its key.

idempotency_key: names the allocation to undo, which can''t be made under it any more
payment_reset_to_unapplied: this took off the last that was allocated of the payment
never null: all';

revoke all on function public.rollback_partial_allocation(uuid)
from public, anon, authenticated, service_role;
grant execute on function public.rollback_partial_allocation(uuid) to authenticated, service_role;
