-- GAP-004: unapplied_payments drifted from the payments it mirrors.
--
-- After this file the database keeps it: each movement of a payment, whoever makes it, brings the
-- mirror in line in the same transaction, and what anybody else writes there changes nothing that is
-- true. Rows that are wrong already stay as they are: reconcile_unapplied_payments lists them, and
-- they become right when their payment moves, or by fix_unapplied_payments_inconsistencies.
-- docs/gaps/gap_004.md tells the whole story.
--
-- Locks: `create trigger` takes share row exclusive on payments, then on unapplied_payments, from
-- the section "triggers" to the commit: reads go on, writes wait.

-- functions, quoted from sql/functions ----------------------------------------------------------

-- >>> sql/functions/payments/allocate_payment_atomic.sql sha256:3647eaa04644f8f0158c6933d09b42fd011e42ed9052dc9bd0505b43ac12267d
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
-- <<<

-- >>> sql/functions/payments/balance_payment.sql sha256:c54e1be1b9cf86e8834cf69fc003c1d20b2ad3e41146f684b305957bd9d4adbb
-- Reads a payment back after a change of its allocations: what it says of itself follows from them.
--
-- Locks: none; the caller holds the payment.

create or replace function private.balance_payment(
  p_payment_id uuid,
  out payment_amount numeric,
  out total_allocated numeric,
  out unapplied_amount numeric,
  out allocation_status text
)
returns record
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- return
  select
    payment.amount,
    payment.amount_applied,
    payment.amount_unapplied,
    payment.allocation_status
  into payment_amount, total_allocated, unapplied_amount, allocation_status
  from public.payments as payment
  where payment.id = p_payment_id;
end;
$$;

comment on function private.balance_payment(uuid) is
'Reads back what a payment says of itself.';

revoke all on function private.balance_payment(uuid) from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/check_payment_invariants.sql sha256:fe7a264a6187154bb373b486f3d5a657400cb93aa48849ece04c42377cb09c76
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
  select * from private.check_payments()
  union all
  select * from private.check_unapplied_payments();
end;
$$;

comment on function public.check_payment_invariants() is
'Every broken invariant of the books as a row; none when all is well.';

revoke all on function public.check_payment_invariants()
from public, anon, authenticated, service_role;
grant execute on function public.check_payment_invariants() to authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/check_unapplied_payments.sql sha256:2dc9b2a33323636e52923b53445e5ee29a4af0458454f1a2a5260ca7d9bb37a6
-- Every broken invariant of unapplied payments, one row each; a part of check_payment_invariants.
--
-- Locks: none. It reads one snapshot.

create or replace function private.check_unapplied_payments()
returns table (
  invariant text,
  entity text,
  entity_id text,
  expected text,
  found text
)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- return
  return query
  select
    'unapplied_payments_true',
    'payment',
    faulty.payment_id::text,
    case
      when faulty.expected = 0 then 'no row'
      else '1 row of ' || faulty.expected || ' of customer ' || faulty.customer_id
    end,
    concat_ws(', ', faulty.mirror_rows || ' rows', faulty.found || ' together', faulty.fault)
  from private.unapplied_faults() as faulty;
end;
$$;

comment on function private.check_unapplied_payments() is
'Every broken invariant of unapplied payments as a row; none when all is well.';

revoke all on function private.check_unapplied_payments()
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/mirror_unapplied.sql sha256:808d57f673573811596fa9ed31ca701ba9c8d1118ccef31a557a85fca3fe8eed
-- Brings the rows of unapplied_payments of one payment in line with what is left of it: exactly one
-- row of that amount, none when nothing is left. The oldest row stays, with its reason.
--
-- It is the one place that writes the mirror of a payment, called after every movement of one
-- (mirror_payment). There is no unique constraint to rely upon: whoever writes a row for a payment
-- holds the payment, and so they come one after the other.
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
  v_rows bigint;
begin
  if p_left > 0 then
    update public.unapplied_payments as mirror
    set amount_unapplied = p_left, customer_id = p_customer_id
    where mirror.payment_id = p_payment_id;
    get diagnostics v_rows = row_count;

    if v_rows = 0 then
      insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied)
      values (p_customer_id, p_payment_id, p_left);
    elsif v_rows > 1 then
      delete from public.unapplied_payments as mirror
      where mirror.payment_id = p_payment_id
        and mirror.id <> (
          select oldest.id
          from public.unapplied_payments as oldest
          where oldest.payment_id = p_payment_id
          order by oldest.created_at, oldest.id
          limit 1
        );
    end if;
  else
    delete from public.unapplied_payments as mirror
    where mirror.payment_id = p_payment_id;
  end if;
end;
$$;

comment on function private.mirror_unapplied(uuid, uuid, numeric) is
'Brings unapplied_payments in line with what is left of one payment.';

revoke all on function private.mirror_unapplied(uuid, uuid, numeric)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/void_payment.sql sha256:714e6379253c42b913c8949a19af5f5c5e3debe7ecba1f23eda046c9c209c299
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
-- <<<

-- >>> sql/functions/unapplied_payments/fix_unapplied_payments_inconsistencies.sql sha256:213ea6faf273158e541348435b97d99eb487ccb4ed58d0fdda1f33cca77a7d15
-- Repairs what reconcile_unapplied_payments finds; with p_dry_run (the default, also for null) it
-- says what it would repair, and writes nothing. Payments and allocations are never touched: the
-- mirror follows them, so no credit can come out of this that is not left of a payment.
--
-- A row that takes the place of others keeps what the oldest of them said of reason and time.
-- With an idempotency key the same repair gets its first answer again (see claim_request).
--
-- inconsistencies_found, _fixed: payments; then how many of each fault.
-- amount_found, amount_expected: what the rows of these payments said together, and what is left.
--
-- Refusals: PT400 idempotency_key_invalid; PT409 idempotency_key_reused
--
-- Locks: the idempotency key, then the payments concerned by id, `for no key update`.

create or replace function public.fix_unapplied_payments_inconsistencies(
  p_dry_run boolean default true,
  out success boolean,
  out dry_run boolean,
  out inconsistencies_found bigint,
  out inconsistencies_fixed bigint,
  out missing bigint,
  out superfluous bigint,
  out duplicate bigint,
  out wrong_amount bigint,
  out wrong_customer bigint,
  out amount_found numeric,
  out amount_expected numeric
)
returns record
language plpgsql
volatile
security definer -- the mirror is written by the database alone
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew took half of a call's time
as $$
declare
  v_key text := private.idempotency_key();
  v_arguments jsonb := jsonb_build_object('dry_run', false);
  v_request record;
  v_payment_ids uuid[];
begin
  dry_run := coalesce(p_dry_run, true);

  -- lock
  if not dry_run then
    select claimed.call_id, claimed.answer into v_request
    from private.claim_request(
      'fix_unapplied_payments_inconsistencies', v_key, v_arguments
    ) as claimed;

    if v_request.answer is not null then
      select first_answer.*
      into
        success, dry_run, inconsistencies_found, inconsistencies_fixed, missing, superfluous,
        duplicate, wrong_amount, wrong_customer, amount_found, amount_expected
      from jsonb_to_record(v_request.answer) as first_answer (
        success boolean,
        dry_run boolean,
        inconsistencies_found bigint,
        inconsistencies_fixed bigint,
        missing bigint,
        superfluous bigint,
        duplicate bigint,
        wrong_amount bigint,
        wrong_customer bigint,
        amount_found numeric,
        amount_expected numeric
      );
      return;
    end if;

    perform
    from public.payments as payment
    where payment.id = any(
      array(select faulty.payment_id from private.unapplied_faults() as faulty)
    )
    order by payment.id
    for no key update;
  end if;

  -- check
  select
    count(*),
    count(*) filter (where faulty.fault = 'missing'),
    count(*) filter (where faulty.fault = 'superfluous'),
    count(*) filter (where faulty.fault = 'duplicate'),
    count(*) filter (where faulty.fault = 'wrong_amount'),
    count(*) filter (where faulty.fault = 'wrong_customer'),
    coalesce(sum(faulty.found), 0),
    coalesce(sum(faulty.expected), 0),
    array_agg(faulty.payment_id)
  into
    inconsistencies_found, missing, superfluous, duplicate, wrong_amount, wrong_customer,
    amount_found, amount_expected, v_payment_ids
  from private.unapplied_faults() as faulty;

  -- write
  if not dry_run then
    -- those that should not be there go; put_true_unapplied gives the new ones their customer and
    -- amount, and none to those, and keep_one_unapplied takes the others away
    delete from public.unapplied_payments as mirror
    using public.payments as payment
    where mirror.payment_id = any(v_payment_ids)
      and payment.id = mirror.payment_id
      and private.left_of_payment(payment) = 0;

    insert into public.unapplied_payments (
      customer_id, payment_id, amount_unapplied, reason, created_at
    )
    select
      payment.customer_id,
      payment.id,
      payment.amount_unapplied,
      oldest.reason,
      coalesce(oldest.created_at, now())
    from public.payments as payment
    left join lateral (
      select mirror.reason, mirror.created_at
      from public.unapplied_payments as mirror
      where mirror.payment_id = payment.id
      order by mirror.created_at, mirror.id
      limit 1
    ) as oldest on true
    where payment.id = any(v_payment_ids);
  end if;

  -- return
  success := true;
  inconsistencies_fixed := case when dry_run then 0 else inconsistencies_found end;

  if not dry_run then
    perform private.finish_request(
      'fix_unapplied_payments_inconsistencies', v_key, v_arguments, v_request.call_id,
      jsonb_build_object(
        'success', success,
        'dry_run', dry_run,
        'inconsistencies_found', inconsistencies_found,
        'inconsistencies_fixed', inconsistencies_fixed,
        'missing', missing,
        'superfluous', superfluous,
        'duplicate', duplicate,
        'wrong_amount', wrong_amount,
        'wrong_customer', wrong_customer,
        'amount_found', amount_found,
        'amount_expected', amount_expected
      )
    );
  end if;
end;
$$;

comment on function public.fix_unapplied_payments_inconsistencies(boolean) is
'Repairs what reconcile_unapplied_payments finds.

p_dry_run: true, the default, writes nothing
never null: all';

revoke all on function public.fix_unapplied_payments_inconsistencies(boolean)
from public, anon, authenticated, service_role;
grant execute on function public.fix_unapplied_payments_inconsistencies(boolean) to service_role;
-- <<<

-- >>> sql/functions/unapplied_payments/keep_one_unapplied.sql sha256:2f9ea346a3840c58509e7215ce71cfe10b113088e35d1a8f54f68eea2573a910
-- After rows were inserted into unapplied_payments: each takes the place of those that were there for
-- its payment. It comes after the insert and not before it, so that a row that is not inserted after
-- all (`on conflict do nothing`) takes nobody's place.
--
-- Locks: none; put_true_unapplied holds the payments.

create or replace function private.keep_one_unapplied()
returns trigger
language plpgsql
security definer -- the mirror is the database's, whatever the caller may delete
set search_path = pg_catalog, pg_temp
as $$
begin
  -- write
  delete from public.unapplied_payments as mirror
  using (
    select distinct on (added.payment_id) added.payment_id, added.id
    from new_rows as added
    order by added.payment_id, added.created_at, added.id
  ) as kept
  where mirror.payment_id = kept.payment_id and mirror.id <> kept.id;

  return null;
end;
$$;

comment on function private.keep_one_unapplied() is
'Trigger: a new row of unapplied_payments takes the place of the payment''s other rows.';

revoke all on function private.keep_one_unapplied() from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/unapplied_payments/keep_unapplied.sql sha256:17b9ccac26460f825a6a753c3d9f64bd45a83e5f33db3eb38ec8ca4890cf7ad3
-- Keeps a row of unapplied_payments that somebody deletes while something is left of its payment: no
-- error, and no row deleted. A row that should not be there goes.
--
-- Who deletes it, this database or a trigger of somebody else's, is not asked, since both write as the
-- owner. Inside of a trigger one of several rows goes: only those that are too many are taken away
-- there (mirror_unapplied, keep_one_unapplied).
--
-- Locks: none. The delete holds its row, which every movement of the payment writes as well: what is
-- left of the payment cannot change unseen, and the delete must not wait for the payment.

create or replace function private.keep_unapplied()
returns trigger
language plpgsql
security definer -- row security must not hide the payment from whoever deletes its mirror
set search_path = pg_catalog, pg_temp
as $$
begin
  -- check
  perform
  from public.payments as payment
  where payment.id = old.payment_id
    and payment.amount_unapplied > 0 -- what is used up needs no further question
    and private.left_of_payment(payment) > 0;

  if not found then
    return old;
  end if;

  if pg_trigger_depth() > 1 then
    perform
    from public.unapplied_payments as other
    where other.payment_id = old.payment_id and other.id <> old.id;

    if found then
      return old;
    end if;
  end if;

  return null;
end;
$$;

comment on function private.keep_unapplied() is
'Trigger: a row of unapplied_payments stays while something is left of its payment.';

revoke all on function private.keep_unapplied() from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/unapplied_payments/left_of_payment.sql sha256:bd5421d95ba30ab05bf9a1457500c19aa2f47c49ef8ec4a26912840c47d29bb1
-- What unapplied_payments has to say of a payment, in rupees: what is left of it, and nothing of one
-- that is voided, that has no customer, or whose legacy amount is not a sum of money.
--
-- Locks: none.

create or replace function private.left_of_payment(p_payment public.payments)
returns numeric
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when
      p_payment.customer_id is not null
      and p_payment.voided_at is null
      and p_payment.amount_unapplied > 0
      and p_payment.amount_unapplied < 'Infinity' -- which NaN is not either
      then p_payment.amount_unapplied
    else 0
  end;
end;
$$;

comment on function private.left_of_payment(public.payments) is
'What unapplied_payments has to say of a payment, in rupees.';

revoke all on function private.left_of_payment(public.payments)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/unapplied_payments/mirror_payment.sql sha256:010df3de19e3545d5025cb907d87e64fef93cc53956c0af97ce9b035a22cfa42
-- After a payment was recorded, or what is left of it, its customer or its being voided changed, by
-- whomever: brings unapplied_payments in line with it.
--
-- It looks at the payment as it is now: another trigger may have moved it since the row that this
-- one was called for.
--
-- Locks: none but the payment, which the statement holds.

create or replace function private.mirror_payment()
returns trigger
language plpgsql
security definer -- the mirror is the database's, whatever the caller may write
set search_path = pg_catalog, pg_temp
as $$
declare
  v_customer_id uuid;
  v_left numeric;
begin
  if
    tg_op = 'UPDATE'
    and new.amount_unapplied is not distinct from old.amount_unapplied
    and new.customer_id is not distinct from old.customer_id
    and new.voided_at is not distinct from old.voided_at
  then
    return null;
  end if;

  select payment.customer_id, private.left_of_payment(payment) into v_customer_id, v_left
  from public.payments as payment
  where payment.id = new.id;

  -- write
  if found then
    perform private.mirror_unapplied(new.id, v_customer_id, v_left);
  end if;

  return null;
end;
$$;

comment on function private.mirror_payment() is
'Trigger: brings unapplied_payments in line with a payment that moved.';

revoke all on function private.mirror_payment() from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/unapplied_payments/put_true_unapplied.sql sha256:445923718c19dff8ec364a55948edb0aac580f18a89e90e746453ce3064c4023
-- Puts the truth into a row of unapplied_payments that somebody writes, this database included: what
-- a writer says of customer and amount is neither an error nor believed.
--
-- An inserted row takes the place of the one that the database made (keep_one_unapplied); where
-- nothing is left of the payment there is no row to write, and none comes back. An updated row stays
-- with its payment; one that should not be there at all keeps its amount until it is repaired.
--
-- Locks: on insert the payment, `for no key update`, before the row and its indexes. An update holds
-- its row, which every movement of the payment writes as well, and must not wait for the payment.

create or replace function private.put_true_unapplied()
returns trigger
language plpgsql
security definer -- row security must not hide the payment from whoever writes its mirror
set search_path = pg_catalog, pg_temp
as $$
declare
  v_payment public.payments;
  v_left numeric;
begin
  if tg_op = 'INSERT' then
    -- lock
    select payment.* into v_payment
    from public.payments as payment
    where payment.id = new.payment_id
    for no key update;

    if not found then
      return new; -- which the foreign key refuses
    end if;
  else
    new.payment_id := old.payment_id;

    select payment.* into v_payment
    from public.payments as payment
    where payment.id = new.payment_id;
  end if;

  v_left := private.left_of_payment(v_payment);

  -- write
  if v_left > 0 then
    new.customer_id := v_payment.customer_id;
    new.amount_unapplied := v_left;
  elsif tg_op = 'INSERT' then
    return null;
  else
    new.customer_id := old.customer_id;
    new.amount_unapplied := old.amount_unapplied;
  end if;

  return new;
end;
$$;

comment on function private.put_true_unapplied() is
'Trigger: puts the true customer and amount into a row of unapplied_payments.';

revoke all on function private.put_true_unapplied() from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/unapplied_payments/reconcile_unapplied_payments.sql sha256:2133f84ae490f6d76891892214e3274b7b03ac0b4d4a261012a12af5d1027fb6
-- Where unapplied_payments differs from the payments that it mirrors: one row for each payment, none
-- when all is well. Reads only; fix_unapplied_payments_inconsistencies repairs.
--
-- expected: what is left of the payment, in rupees; 0 when there should be no row.
-- found: what its rows say together, and how many there are (mirror_rows).
-- fault: missing, superfluous, duplicate, wrong_amount, wrong_customer.
--
-- Locks: none. It reads one snapshot.

create or replace function public.reconcile_unapplied_payments()
returns table (
  payment_id uuid,
  customer_id uuid,
  expected numeric,
  found numeric,
  mirror_rows bigint,
  fault text
)
language plpgsql
stable
security definer -- to whom row security hides rows, all would seem well
set search_path = pg_catalog, pg_temp
as $$
begin
  -- return
  return query
  select faulty.*
  from private.unapplied_faults() as faulty
  order by faulty.customer_id, faulty.payment_id;
end;
$$;

comment on function public.reconcile_unapplied_payments() is
'Where unapplied_payments differs from the payments that it mirrors; no row when all is well.

expected: what is left of the payment
found: what the mirror says
fault "superfluous" | "missing" | "duplicate" | "wrong_amount" | "wrong_customer"
never null: all but customer_id';

revoke all on function public.reconcile_unapplied_payments()
from public, anon, authenticated, service_role;
grant execute on function public.reconcile_unapplied_payments() to authenticated, service_role;
-- <<<

-- >>> sql/functions/unapplied_payments/take_unapplied_along.sql sha256:e6b6d74e6f96fc89b06ce71dc69c9602ae3d94398f3c741bf1a1bbaaa98a644b
-- After a payment was deleted: its row of unapplied_payments goes with it. The row is the database's,
-- so it must not be what the delete meets; the allocations still are.
--
-- After it, since a row stays while something is left of its payment, whoever deletes it.
--
-- Locks: none but the payment, which the delete holds.

create or replace function private.take_unapplied_along()
returns trigger
language plpgsql
security definer -- the mirror is the database's, whatever the caller may delete
set search_path = pg_catalog, pg_temp
as $$
begin
  -- write
  delete from public.unapplied_payments as mirror
  where mirror.payment_id = old.id;

  return null;
end;
$$;

comment on function private.take_unapplied_along() is
'Trigger: a payment that is deleted takes its row of unapplied_payments along.';

revoke all on function private.take_unapplied_along()
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/unapplied_payments/unapplied_faults.sql sha256:11dab0621cd561669d67d515fe4f3d48c7e701257d6716164a782a08385433a7
-- Where unapplied_payments differs from the payments that it mirrors: one row for each payment.
--
-- fault: missing, superfluous (nothing is left, and yet there is a row), duplicate, wrong_amount or
-- wrong_customer; the first of these that applies.
--
-- Locks: none. It reads one snapshot.

create or replace function private.unapplied_faults()
returns table (
  payment_id uuid,
  customer_id uuid,
  expected numeric,
  found numeric,
  mirror_rows bigint,
  fault text
)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- return
  return query
  select
    truth.id,
    truth.customer_id,
    truth.rest,
    coalesce(sum(mirror.amount_unapplied), 0),
    count(mirror.id),
    case
      when truth.rest = 0 then 'superfluous'
      when count(mirror.id) = 0 then 'missing'
      when count(mirror.id) > 1 then 'duplicate'
      when sum(mirror.amount_unapplied) <> truth.rest then 'wrong_amount'
      else 'wrong_customer'
    end
  from (
    select payment.id, payment.customer_id, private.left_of_payment(payment) as rest
    from public.payments as payment
  ) as truth
  left join public.unapplied_payments as mirror on truth.id = mirror.payment_id
  group by truth.id, truth.customer_id, truth.rest
  having not case
    when truth.rest = 0 then count(mirror.id) = 0
    else
      count(mirror.id) = 1
      and sum(mirror.amount_unapplied) = truth.rest
      and bool_and(mirror.customer_id = truth.customer_id)
  end;
end;
$$;

comment on function private.unapplied_faults() is
'Where unapplied_payments differs from the payments that it mirrors.';

revoke all on function private.unapplied_faults() from public, anon, authenticated, service_role;
-- <<<

-- triggers: payments move their mirror ---------------------------------------------------------------

create trigger mirror_on_insert
after insert on public.payments
for each row
when (new.customer_id is not null and new.voided_at is null and new.amount_unapplied > 0)
execute function private.mirror_payment();

create trigger mirror_on_update
after update on public.payments
for each row
execute function private.mirror_payment();

-- Named so that it comes before the foreign keys' own triggers (RI_ConstraintTrigger_…): the payment is
-- gone, so nothing is left of it and its row may go, and the row is gone when they look.
create trigger "00_take_unapplied_along"
after delete on public.payments
for each row
execute function private.take_unapplied_along();

-- triggers: nobody else's word counts ----------------------------------------------------------------

create trigger put_true_on_insert
before insert on public.unapplied_payments
for each row
execute function private.put_true_unapplied();

create trigger put_true_on_update
before update on public.unapplied_payments
for each row
execute function private.put_true_unapplied();

create trigger keep_one_on_insert
after insert on public.unapplied_payments
referencing new table as new_rows
for each statement execute function private.keep_one_unapplied();

create trigger keep_on_delete
before delete on public.unapplied_payments
for each row
execute function private.keep_unapplied();

create trigger refuse_truncate
before truncate on public.unapplied_payments
for each statement execute function private.refuse_statement(
  'unapplied_payments_mirrored',
  'unapplied_payments mirrors the payments and cannot be truncated',
  'Nothing needs to be done: its rows follow the payments.'
);
