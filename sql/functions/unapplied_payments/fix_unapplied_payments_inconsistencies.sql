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
