-- GAP-003: a payment's amount could be edited below what is already allocated; correcting an amount
-- together with what it pays took several calls that could fail in between; and nobody could say
-- afterwards who had edited a payment, from what to what, and why.
--
-- That no direct update breaks the amount is a rule of the table since gap 001. After this file there
-- is one call that changes amount and allocations together, and a record of every edit, whoever
-- makes it. docs/gaps/gap_003.md tells the whole story.
--
-- Locks: share row exclusive on payments, from the triggers to the commit; reading goes on.

-- what the gap adds ------------------------------------------------------------------------------

create table private.payment_edits (
  id bigint generated always as identity primary key,
  at timestamptz not null default now(),
  recorded_by text not null,
  call_id uuid,
  payment_id uuid not null,
  was jsonb not null,
  became jsonb not null,
  reason text
);

comment on table private.payment_edits is
'Every change of what a payment says of itself, appended by trigger; it outlives the payment.';

create index payment_edits_payment on private.payment_edits (payment_id);

alter table private.payment_edits enable row level security;
revoke all on private.payment_edits from public, anon, authenticated, service_role;
revoke all on sequence private.payment_edits_id_seq
from public, anon, authenticated, service_role;

-- functions, quoted from sql/functions ----------------------------------------------------------

-- >>> sql/functions/payments/change_payment.sql sha256:b390eb11262c36721c6337cd2de76ea431530cc7dad242be50186f47a77615a1
-- Changes the amount of a payment and what it pays of invoices, both at once: the core under
-- update_payment_atomic, without keys and without jsonb.
--
-- p_amount: rupees, already checked; null keeps the amount.
-- p_invoice_ids, p_amounts: what the payment pays of invoices afterwards, already checked
-- (parse_allocations); null keeps what it pays. What it pays of the opening balance and of sales
-- stays, and counts.
--
-- Written in an order in which no rule is broken on the way: a larger amount first, then less on
-- invoices, a smaller amount, more on invoices.
-- Locks: the payment, then its invoices before and after by id, then their sales by id.

create or replace function private.change_payment(
  p_payment_id uuid,
  p_amount numeric,
  p_invoice_ids uuid[],
  p_amounts numeric[]
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew took half of a call's time
as $$
declare
  v_payment record;
  v_amount numeric;
  v_requested numeric;
  v_elsewhere numeric;
  v_available numeric;
  v_fault record;
begin
  -- lock
  select
    payment.customer_id,
    payment.amount,
    payment.amount_applied,
    payment.voided_at,
    payment.void_reason
  into v_payment
  from public.payments as payment
  where payment.id = p_payment_id
  for no key update;

  if not found then
    raise exception using
      errcode = 'PT404',
      message = 'payment_not_found',
      detail = jsonb_build_object('payment_id', p_payment_id)::text,
      hint = 'The payment does not exist or was deleted; reload it.';
  elsif v_payment.voided_at is not null then
    raise exception using
      errcode = 'PT409',
      message = 'payment_voided',
      detail = jsonb_build_object(
        'payment_id', p_payment_id,
        'voided_at', v_payment.voided_at,
        'void_reason', v_payment.void_reason
      )::text,
      hint = 'A voided payment stays as it was; record a new one for new money.';
  elsif v_payment.customer_id is null and cardinality(p_invoice_ids) > 0 then
    raise exception using
      errcode = 'PT422',
      message = 'payment_without_customer',
      detail = jsonb_build_object('payment_id', p_payment_id)::text,
      hint = 'Set the customer of the payment, then allocate it.';
  end if;

  perform private.hold_targets(p_payment_id, p_invoice_ids);

  -- check
  v_amount := coalesce(p_amount, v_payment.amount);

  select
    v_payment.amount_applied - case
      when p_invoice_ids is null then 0
      else coalesce(sum(allocation.amount_allocated), 0)
    end
  into v_elsewhere
  from public.invoice_payments as allocation
  where allocation.payment_id = p_payment_id;

  if v_amount < v_elsewhere and (p_amount is not null or p_invoice_ids is not null) then
    raise exception using
      errcode = 'PT409',
      message = 'amount_below_allocated',
      detail = jsonb_build_object(
        'payment_id', p_payment_id, 'requested', v_amount, 'allocated', v_elsewhere
      )::text,
      hint = 'Take allocations off first, or replace them in the same call.';
  end if;

  select sum(named.amount) into v_requested
  from unnest(p_amounts) as named (amount);

  -- in whole paise, and nothing at all where a legacy amount is not a sum of money
  v_available := case
    when v_amount < 10000000000 then trim_scale(trunc(v_amount - v_elsewhere, 2))
    else 0
  end;

  if v_requested > v_available then
    raise exception using
      errcode = 'PT409',
      message = 'allocation_exceeds_payment',
      detail = jsonb_build_object(
        'payment_id', p_payment_id,
        'requested', v_requested,
        'available', greatest(v_available, 0)
      )::text,
      hint = 'Allocate no more than the payment comes to.';
  end if;

  select line.* into v_fault
  from (
    select
      named.position,
      named.invoice_id,
      named.amount,
      held.room,
      case
        when invoice.id is null then 'invoice_not_found'
        when invoice.customer_id <> v_payment.customer_id then 'customer_mismatch'
        when invoice.invoice_status = 'cancelled' then 'invoice_cancelled'
        when named.amount > held.room then 'allocation_exceeds_invoice'
      end as reason
    from unnest(p_invoice_ids, p_amounts)
      with ordinality as named (invoice_id, amount, position)
    left join public.invoice_metadata as invoice on named.invoice_id = invoice.id
    left join public.invoice_payments as allocation
      on named.invoice_id = allocation.invoice_id and allocation.payment_id = p_payment_id
    cross join lateral (
      select case
        when invoice.total_amount < 10000000000
          then trim_scale(
            trunc(
              greatest(
                invoice.total_amount - invoice.amount_paid
                + coalesce(allocation.amount_allocated, 0),
                0
              ), 2
            )
          )
        else 0
      end as room
    ) as held
  ) as line
  where line.reason is not null
  order by line.reason = 'allocation_exceeds_invoice', line.position
  limit 1;

  if v_fault.reason = 'invoice_not_found' then
    raise exception using
      errcode = 'PT404',
      message = 'invoice_not_found',
      detail = jsonb_build_object('invoice_id', v_fault.invoice_id)::text,
      hint = 'The invoice does not exist or was deleted; reload the customer''s invoices.';
  elsif v_fault.reason = 'customer_mismatch' then
    raise exception using
      errcode = 'PT422',
      message = 'customer_mismatch',
      detail = jsonb_build_object(
        'payment_id', p_payment_id, 'invoice_id', v_fault.invoice_id
      )::text,
      hint = 'Allocate the payment to invoices of its own customer.';
  elsif v_fault.reason = 'invoice_cancelled' then
    raise exception using
      errcode = 'PT409',
      message = 'invoice_cancelled',
      detail = jsonb_build_object('invoice_id', v_fault.invoice_id)::text,
      hint = 'A cancelled invoice takes no money; reload the customer''s invoices.';
  elsif v_fault.reason = 'allocation_exceeds_invoice' then
    raise exception using
      errcode = 'PT409',
      message = 'allocation_exceeds_invoice',
      detail = jsonb_build_object(
        'invoice_id', v_fault.invoice_id,
        'requested', v_fault.amount,
        'available', v_fault.room
      )::text,
      hint = 'Allocate no more than is outstanding on the invoice but for this payment.';
  end if;

  -- write
  if v_amount > v_payment.amount then
    update public.payments as payment
    set amount = v_amount, updated_at = now()
    where payment.id = p_payment_id;
  end if;

  delete from public.invoice_payments as allocation
  where allocation.payment_id = p_payment_id
    and allocation.invoice_id <> all(p_invoice_ids);

  update public.invoice_payments as allocation
  set amount_allocated = named.amount, updated_at = now()
  from unnest(p_invoice_ids, p_amounts) as named (invoice_id, amount)
  where allocation.payment_id = p_payment_id
    and allocation.invoice_id = named.invoice_id
    and allocation.amount_allocated > named.amount;

  if v_amount < v_payment.amount then
    update public.payments as payment
    set amount = v_amount, updated_at = now()
    where payment.id = p_payment_id;
  end if;

  insert into public.invoice_payments as allocation (invoice_id, payment_id, amount_allocated)
  select named.invoice_id, p_payment_id, named.amount
  from unnest(p_invoice_ids, p_amounts) as named (invoice_id, amount)
  on conflict (invoice_id, payment_id) do update
  set amount_allocated = excluded.amount_allocated, updated_at = now()
  where allocation.amount_allocated < excluded.amount_allocated;
end;
$$;

comment on function private.change_payment(uuid, numeric, uuid[], numeric[]) is
'Changes the amount of a payment and what it pays of invoices: the core of update_payment_atomic.';

revoke all on function private.change_payment(uuid, numeric, uuid[], numeric[])
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/record_payment_edit.sql sha256:39d2e2161784f001e51ddd51a58697e9a1d1a41ccd9750b0c253c59c184b87df
-- After a payment was edited, by whomever: keeps what it said before and says now, of those columns
-- that changed, with the reason that the call or the writer gave (setting pymilk.reason).
--
-- Locks: none.

create or replace function private.record_payment_edit()
returns trigger
language plpgsql
security definer -- the edits are kept in a schema that no caller may write
set search_path = pg_catalog, pg_temp
as $$
begin
  -- write
  insert into private.payment_edits (recorded_by, call_id, payment_id, was, became, reason)
  select
    private.caller(),
    nullif(current_setting('pymilk.call_id', true), '')::uuid,
    new.id,
    jsonb_object_agg(before.column_name, before.value),
    jsonb_object_agg(before.column_name, after.value),
    left(nullif(current_setting('pymilk.reason', true), ''), 1000)
  from jsonb_each(
    jsonb_build_object(
      'amount', old.amount,
      'customer_id', old.customer_id,
      'payment_date', old.payment_date,
      'payment_method', old.payment_method,
      'voided_at', old.voided_at,
      'voided_by', old.voided_by,
      'void_reason', old.void_reason
    )
  ) as before (column_name, value)
  inner join jsonb_each(to_jsonb(new)) as after (column_name, value)
    on before.column_name = after.column_name
  where before.value <> after.value;

  return null;
end;
$$;

comment on function private.record_payment_edit() is
'Trigger: keeps what an edited payment said before and says now, who edited it and why.';

revoke all on function private.record_payment_edit()
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/update_payment_atomic.sql sha256:02d5aaf3ec691d14ad40919f01785af291cfbb3b4fec423698b91e1310374ee6
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
-- <<<

-- triggers: from here on, writes to payments wait for the commit -----------------------------------

create trigger refuse_change
before update or delete or truncate on private.payment_edits
for each statement execute function private.refuse_statement(
  'payment_edits_append_only',
  'the record of edits is only ever appended to',
  'Edit the payment itself; the record follows.'
);

create trigger record_edit
after update of amount, customer_id, payment_date, payment_method, voided_at, voided_by,
void_reason on public.payments
for each row
when (
  old.amount is distinct from new.amount
  or old.customer_id is distinct from new.customer_id
  or old.payment_date is distinct from new.payment_date
  or old.payment_method is distinct from new.payment_method
  or old.voided_at is distinct from new.voided_at
  or old.voided_by is distinct from new.voided_by
  or old.void_reason is distinct from new.void_reason
)
execute function private.record_payment_edit();
