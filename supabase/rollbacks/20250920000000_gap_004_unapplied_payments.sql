-- Undoes gap 004, exactly: functions and triggers as before, no row changed. What the database wrote
-- into unapplied_payments is true at this moment and stays; from now on the app keeps it again.
--
-- Locks: access exclusive on payments, then on unapplied_payments, from here to the commit.

drop trigger mirror_on_insert on public.payments;
drop trigger mirror_on_update on public.payments;
drop trigger "00_take_unapplied_along" on public.payments;

drop trigger put_true_on_insert on public.unapplied_payments;
drop trigger put_true_on_update on public.unapplied_payments;
drop trigger keep_one_on_insert on public.unapplied_payments;
drop trigger keep_on_delete on public.unapplied_payments;
drop trigger refuse_truncate on public.unapplied_payments;

-- functions, as they were before ----------------------------------------------------------------

-- >>> sql/functions/payments/allocate_payment_atomic.sql as of 20250917000000_gap_001_allocate_payment_atomic sha256:286f10def8791085727252f56479ebf0fcabcac0367ee2633d8babf13c64cb06
-- Allocates a payment to invoices in one step: all lines or none, both sides locked, the totals and
-- statuses of both sides and what is left unapplied written in the same transaction.
--
-- With an idempotency key the same call gets its first answer again (see claim_request).
--
-- Refusals, raised so that nothing stays written:
--   PT400 payment_required, allocations_not_a_list, allocations_empty, allocation_malformed,
--         amount_invalid, idempotency_key_invalid
--   PT404 payment_not_found, invoice_not_found
--   PT409 allocation_exceeds_payment, allocation_exceeds_invoice, invoice_cancelled,
--         idempotency_key_reused, request_undone
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
  v_arguments jsonb;
  v_request record;
  v_applied numeric[];
  v_customer_id uuid;
begin
  if p_payment_id is null then
    raise exception using
      errcode = 'PT400',
      message = 'payment_required',
      detail = jsonb_build_object('p_payment_id', null)::text,
      hint = 'Name the payment to allocate.';
  end if;

  select parsed.invoice_ids, parsed.amounts into v_lines
  from private.parse_allocations(p_allocations) as parsed;

  v_arguments := jsonb_build_object(
    'payment_id', p_payment_id,
    'invoice_ids', v_lines.invoice_ids,
    'amounts', v_lines.amounts,
    'validate_amounts', v_refuse_excess
  );

  -- lock
  select claimed.call_id, claimed.answer into v_request
  from private.claim_request('allocate_payment_atomic', v_key, v_arguments) as claimed;

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
    p_payment_id, v_lines.invoice_ids, v_lines.amounts, v_refuse_excess
  );

  perform set_config('pymilk.call_id', v_outer_call, true);

  select
    payment.amount,
    payment.amount_applied,
    payment.amount_unapplied,
    payment.allocation_status,
    payment.customer_id
  into payment_amount, total_allocated, unapplied_amount, allocation_status, v_customer_id
  from public.payments as payment
  where payment.id = p_payment_id;

  perform private.mirror_unapplied(p_payment_id, v_customer_id, unapplied_amount);

  -- return
  success := true;

  select
    sum(line.applied),
    jsonb_agg(
      jsonb_build_object(
        'invoice_id', line.invoice_id, 'requested', line.requested, 'applied', line.applied
      )
      order by line.position
    )
  into allocated_amount, applied
  from unnest(v_lines.invoice_ids, v_lines.amounts, v_applied)
    with ordinality as line (invoice_id, requested, applied, position);

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
end;
$$;

comment on function public.allocate_payment_atomic(uuid, jsonb, boolean) is
'Allocates a payment to invoices, all lines or none: [{"invoiceId": uuid, "amount": rupees}]. '
'p_validate_amounts false cuts each line to what payment and invoice can take.';

revoke all on function public.allocate_payment_atomic(uuid, jsonb, boolean)
from public, anon, authenticated, service_role;
grant execute on function public.allocate_payment_atomic(uuid, jsonb, boolean)
to authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/balance_payment.sql as of 20250918000000_gap_002_rollback_partial_allocation sha256:e5efffc684b83f14d824ec33294862b4dde1d5e99a47228a73dc1ac07caeebb8
-- Ends a change of a payment's allocations: brings unapplied_payments in line and reads the payment
-- back. A payment without a customer has no row there, whatever is left of it.
--
-- Locks: the caller holds the payment.

create or replace function private.balance_payment(
  p_payment_id uuid,
  out payment_amount numeric,
  out total_allocated numeric,
  out unapplied_amount numeric,
  out allocation_status text
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_customer_id uuid;
begin
  select
    payment.amount,
    payment.amount_applied,
    payment.amount_unapplied,
    payment.allocation_status,
    payment.customer_id
  into payment_amount, total_allocated, unapplied_amount, allocation_status, v_customer_id
  from public.payments as payment
  where payment.id = p_payment_id;

  -- write
  perform private.mirror_unapplied(
    p_payment_id,
    v_customer_id,
    case when v_customer_id is null then 0 else unapplied_amount end
  );
end;
$$;

comment on function private.balance_payment(uuid) is
'Brings unapplied_payments in line with a payment, and reads the payment back.';

revoke all on function private.balance_payment(uuid) from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/check_payment_invariants.sql as of 20250918000000_gap_002_rollback_partial_allocation sha256:a60446bed0467b3829b4d2ed9ce57b323e162e1037b2ac416e5e10f9c843598d
-- Every broken invariant of the books, one row each; none when all is well. The same questions as
-- sql/invariants asks from outside, by the same names; each part stands in a function of its own.
--
-- Locks: none. It reads one snapshot.

create or replace function public.check_payment_invariants()
returns table (
  invariant text,
  entity text,
  entity_id text,
  expected text,
  found text
)
language plpgsql
stable
security definer -- to whom row security hides rows, all would seem well
set search_path = pg_catalog, pg_temp
as $$
begin
  -- return
  return query
  select * from private.check_payments();
end;
$$;

comment on function public.check_payment_invariants() is
'Every broken invariant of the books as a row; none when all is well.';

revoke all on function public.check_payment_invariants()
from public, anon, authenticated, service_role;
grant execute on function public.check_payment_invariants() to authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/check_unapplied_payments.sql was not there
drop function private.check_unapplied_payments();
-- <<<

-- >>> sql/functions/payments/mirror_unapplied.sql as of 20250917000000_gap_001_allocate_payment_atomic sha256:600e193b71a1fe1de8346e96dbabebf9738f629d066b52dd7faa29a6a04b3f1d
-- Brings the rows of unapplied_payments of one payment in line with what is left of it: exactly one
-- row of that amount, none when nothing is left. The oldest row stays, with its reason.
--
-- p_left: rupees.
-- Locks: the caller holds the payment.

create or replace function private.mirror_unapplied(
  p_payment_id uuid,
  p_customer_id uuid,
  p_left numeric
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_kept uuid;
begin
  if p_left > 0 then
    update public.unapplied_payments as mirror
    set amount_unapplied = p_left, customer_id = p_customer_id
    where mirror.id = (
      select oldest.id
      from public.unapplied_payments as oldest
      where oldest.payment_id = p_payment_id
      order by oldest.created_at, oldest.id
      limit 1
    )
    returning mirror.id into v_kept;

    if not found then
      insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied)
      values (p_customer_id, p_payment_id, p_left);
      return;
    end if;
  end if;

  delete from public.unapplied_payments as mirror
  where mirror.payment_id = p_payment_id and mirror.id is distinct from v_kept;
end;
$$;

comment on function private.mirror_unapplied(uuid, uuid, numeric) is
'Brings unapplied_payments in line with what is left of one payment.';

revoke all on function private.mirror_unapplied(uuid, uuid, numeric)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/void_payment.sql as of 20250918000000_gap_002_rollback_partial_allocation sha256:afbf1381281c776e502191917780988530b019d919ee42fc653485f5e6b312d9
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

  perform private.balance_payment(p_payment_id);

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
'Voids a payment: off everything that it pays, out of every sum, for good. Needs a reason.';

revoke all on function public.void_payment(uuid, text)
from public, anon, authenticated, service_role;
grant execute on function public.void_payment(uuid, text) to authenticated, service_role;
-- <<<

-- >>> sql/functions/unapplied_payments/fix_unapplied_payments_inconsistencies.sql was not there
drop function public.fix_unapplied_payments_inconsistencies(boolean);
-- <<<

-- >>> sql/functions/unapplied_payments/keep_one_unapplied.sql was not there
drop function private.keep_one_unapplied();
-- <<<

-- >>> sql/functions/unapplied_payments/keep_unapplied.sql was not there
drop function private.keep_unapplied();
-- <<<

-- >>> sql/functions/unapplied_payments/left_of_payment.sql was not there
drop function private.left_of_payment(public.payments);
-- <<<

-- >>> sql/functions/unapplied_payments/mirror_payment.sql was not there
drop function private.mirror_payment();
-- <<<

-- >>> sql/functions/unapplied_payments/put_true_unapplied.sql was not there
drop function private.put_true_unapplied();
-- <<<

-- >>> sql/functions/unapplied_payments/reconcile_unapplied_payments.sql was not there
drop function public.reconcile_unapplied_payments();
-- <<<

-- >>> sql/functions/unapplied_payments/take_unapplied_along.sql was not there
drop function private.take_unapplied_along();
-- <<<

-- >>> sql/functions/unapplied_payments/unapplied_faults.sql was not there
drop function private.unapplied_faults();
-- <<<
