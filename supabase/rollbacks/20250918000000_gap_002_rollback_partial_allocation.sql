-- Undoes gap 002, exactly: functions and grants as before, nothing changed in any row. What a voided
-- payment says of itself (nothing applied, nothing left) stays as it is, so that no customer gets
-- credit back that there never was; which payments are voided goes with the columns, and the toolkit
-- archives it before.
--
-- The app goes back first: rollback_partial_allocation is gone afterwards, and it did not exist before.
--
-- Locks: access exclusive on payments, from here to the commit.

drop trigger refuse_change_of_voided on public.payments;
drop trigger refuse_allocation_of_voided on public.payments;
drop trigger refuse_voiding_without_reason on public.payments;
drop trigger refuse_voided_on_insert on public.payments;

create or replace trigger derive_payment_on_update
before update of amount on public.payments
for each row
execute function private.derive_payment();

create or replace trigger derive_payment_on_insert
before insert on public.payments
for each row
when (
  new.amount_applied is distinct from 0
  or new.amount_unapplied is distinct from new.amount
  or new.allocation_status is distinct from 'unapplied'
)
execute function private.derive_payment();

select private.restore_privileges('20250918000000_gap_002_rollback_partial_allocation');

-- functions, as they were before ----------------------------------------------------------------

-- >>> sql/functions/allocations/allocate_to_invoices.sql as of 20250917000000_gap_001_allocate_payment_atomic sha256:5f12fd0ce25765cce557c10cc87049dd5c0b5c2dd668bfa3cf9c76e1f565e3cc
-- Allocates a payment to invoices: the core under the RPCs, without keys and without jsonb.
--
-- With p_refuse_excess an amount that the payment or an invoice can't take refuses the whole call;
-- without, each line is cut, in the order given, to what both can take. Everything else is refused
-- either way. Topping up an invoice that the payment already touches adds to its row.
--
-- p_amounts: rupees, one for each invoice id, already checked (parse_allocations).
-- Returns what each line got, in the same order.
-- Locks: the payment, then the invoices by id, `for no key update`.

create or replace function private.allocate_to_invoices(
  p_payment_id uuid,
  p_invoice_ids uuid[],
  p_amounts numeric[],
  p_refuse_excess boolean
)
returns numeric[]
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_payment record;
  v_available numeric;
  v_requested numeric;
  v_faults text[];
  v_fault integer;
  v_rooms numeric[];
  v_applied numeric[];
begin
  -- lock
  select payment.customer_id, payment.amount, payment.amount_applied into v_payment
  from public.payments as payment
  where payment.id = p_payment_id
  for no key update;

  if not found then
    raise exception using
      errcode = 'PT404',
      message = 'payment_not_found',
      detail = jsonb_build_object('payment_id', p_payment_id)::text,
      hint = 'The payment does not exist or was deleted; reload it.';
  elsif v_payment.customer_id is null then
    raise exception using
      errcode = 'PT422',
      message = 'payment_without_customer',
      detail = jsonb_build_object('payment_id', p_payment_id)::text,
      hint = 'Set the customer of the payment, then allocate it.';
  end if;

  perform
  from public.invoice_metadata as invoice
  where invoice.id = any(p_invoice_ids)
  order by invoice.id
  for no key update;

  -- check
  -- in whole paise, and nothing at all where a legacy amount is not a sum of money
  v_available := case
    when v_payment.amount < 10000000000
      then trim_scale(trunc(greatest(v_payment.amount - v_payment.amount_applied, 0), 2))
    else 0
  end;

  with line as (
    select
      named.position,
      named.requested,
      case
        when invoice.id is null then 'invoice_not_found'
        when invoice.customer_id <> v_payment.customer_id then 'customer_mismatch'
        when invoice.invoice_status = 'cancelled' then 'invoice_cancelled'
      end as fault,
      case
        when invoice.total_amount < 10000000000
          then trim_scale(trunc(greatest(invoice.total_amount - invoice.amount_paid, 0), 2))
        else 0
      end as room
    from unnest(p_invoice_ids, p_amounts)
      with ordinality as named (invoice_id, requested, position)
    left join public.invoice_metadata as invoice on named.invoice_id = invoice.id
  ),

  cut as (
    select
      line.*,
      greatest(
        least(line.requested, line.room, v_available - coalesce(
          sum(least(line.requested, line.room)) over (
            order by line.position rows between unbounded preceding and 1 preceding
          ), 0
        )), 0
      ) as applied
    from line
  )

  select
    sum(cut.requested),
    array_agg(cut.fault order by cut.position),
    min(cut.position) filter (where cut.fault is not null),
    array_agg(cut.room order by cut.position),
    array_agg(cut.applied order by cut.position)
  into v_requested, v_faults, v_fault, v_rooms, v_applied
  from cut;

  if v_faults[v_fault] = 'invoice_not_found' then
    raise exception using
      errcode = 'PT404',
      message = 'invoice_not_found',
      detail = jsonb_build_object('invoice_id', p_invoice_ids[v_fault])::text,
      hint = 'The invoice does not exist or was deleted; reload the customer''s invoices.';
  elsif v_faults[v_fault] = 'customer_mismatch' then
    raise exception using
      errcode = 'PT422',
      message = 'customer_mismatch',
      detail = jsonb_build_object(
        'payment_id', p_payment_id, 'invoice_id', p_invoice_ids[v_fault]
      )::text,
      hint = 'Allocate the payment to invoices of its own customer.';
  elsif v_faults[v_fault] = 'invoice_cancelled' then
    raise exception using
      errcode = 'PT409',
      message = 'invoice_cancelled',
      detail = jsonb_build_object('invoice_id', p_invoice_ids[v_fault])::text,
      hint = 'A cancelled invoice takes no money; reload the customer''s invoices.';
  end if;

  if p_refuse_excess and v_requested > v_available then
    raise exception using
      errcode = 'PT409',
      message = 'allocation_exceeds_payment',
      detail = jsonb_build_object(
        'payment_id', p_payment_id, 'requested', v_requested, 'available', v_available
      )::text,
      hint = 'Allocate no more than what is left of the payment.';
  end if;

  select line.position into v_fault
  from unnest(p_amounts, v_rooms) with ordinality as line (requested, room, position)
  where p_refuse_excess and line.requested > line.room
  order by line.position
  limit 1;

  if found then
    raise exception using
      errcode = 'PT409',
      message = 'allocation_exceeds_invoice',
      detail = jsonb_build_object(
        'invoice_id', p_invoice_ids[v_fault],
        'requested', p_amounts[v_fault],
        'available', v_rooms[v_fault]
      )::text,
      hint = 'Allocate no more than what is outstanding on the invoice.';
  end if;

  -- write
  insert into public.invoice_payments as allocation (invoice_id, payment_id, amount_allocated)
  select line.invoice_id, p_payment_id, line.applied
  from unnest(p_invoice_ids, v_applied) as line (invoice_id, applied)
  where line.applied > 0
  on conflict (invoice_id, payment_id) do update
  set
    amount_allocated = allocation.amount_allocated + excluded.amount_allocated,
    updated_at = now();

  -- return
  return v_applied;
end;
$$;

comment on function private.allocate_to_invoices(uuid, uuid[], numeric[], boolean) is
'Allocates a payment to invoices: the core under the RPCs. Returns what each line got.';

revoke all on function private.allocate_to_invoices(uuid, uuid[], numeric[], boolean)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/allocations/count_invoice_payments.sql as of 20250917000000_gap_001_allocate_payment_atomic sha256:744b0a65e3c07fa3968d0b01989ef1681767a1334ade13d4845977ec05b569cb
-- After any change of invoice_payments, by an RPC or directly: moves the counters of both sides and
-- writes the change into the journal.
--
-- A row that was only annotated changes nothing. A row that says it was made earlier than now comes
-- from a `--data-only` restore: it counts, but what the journal says of it is restored by itself.
-- The roles of the API restore nothing: when their row was made is not their word, and it is entered
-- like any other.
--
-- Locks: payments by id, then invoices by id, `for no key update`.

create or replace function private.count_invoice_payments()
returns trigger
language plpgsql
security definer -- an invoker's update that row security filters would count nothing, silently
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew took half of a call's time
as $$
declare
  v_payment_ids uuid[];
  v_invoice_ids uuid[];
  v_changes numeric[];
  v_restored boolean[];
begin
  if tg_op = 'INSERT' then
    select
      array_agg(added.payment_id),
      array_agg(added.invoice_id),
      array_agg(added.amount_allocated),
      array_agg(added.created_at is distinct from now())
    into v_payment_ids, v_invoice_ids, v_changes, v_restored
    from new_rows as added;
  elsif tg_op = 'DELETE' then
    select
      array_agg(gone.payment_id),
      array_agg(gone.invoice_id),
      array_agg(-gone.amount_allocated)
    into v_payment_ids, v_invoice_ids, v_changes
    from old_rows as gone;
  else
    select array_agg(net.payment_id), array_agg(net.invoice_id), array_agg(net.amount)
    into v_payment_ids, v_invoice_ids, v_changes
    from (
      select change.payment_id, change.invoice_id, sum(change.amount) as amount
      from (
        select added.payment_id, added.invoice_id, added.amount_allocated as amount
        from new_rows as added
        union all
        select gone.payment_id, gone.invoice_id, -gone.amount_allocated
        from old_rows as gone
      ) as change
      group by change.payment_id, change.invoice_id
      having sum(change.amount) <> 0
    ) as net;
  end if;

  if v_changes is null then
    return null;
  end if;

  if true = any(v_restored) then
    if current_setting('role', true) in ('anon', 'authenticated', 'service_role') then
      v_restored := null;

      update public.invoice_payments as allocation
      set created_at = now()
      from new_rows as added
      where allocation.id = added.id and added.created_at is distinct from now();
    end if;
  end if;

  -- lock, check, write: first the payments, then the invoices
  perform private.move_amount_applied(v_payment_ids, v_changes);
  perform private.move_amount_paid(v_payment_ids, v_invoice_ids, v_changes);

  insert into private.allocation_journal (
    recorded_by, call_id, payment_id, invoice_id, amount_change
  )
  select
    private.caller(),
    nullif(current_setting('pymilk.call_id', true), '')::uuid,
    change.payment_id,
    change.invoice_id,
    change.amount
  from unnest(v_payment_ids, v_invoice_ids, v_changes, v_restored)
    as change (payment_id, invoice_id, amount, restored)
  where change.payment_id is not null
    and change.invoice_id is not null
    and change.restored is not true;

  return null;
end;
$$;

comment on function private.count_invoice_payments() is
'Trigger: moves the counters of payments and invoices by what changed in invoice_payments.';

revoke all on function private.count_invoice_payments()
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/allocations/undo_call.sql was not there
drop function private.undo_call(uuid, uuid);
-- <<<

-- >>> sql/functions/allocations/undo_invoice_payments.sql was not there
drop function private.undo_invoice_payments(uuid, uuid);
-- <<<

-- >>> sql/functions/invoices/refresh_invoice_status.sql was not there
drop function private.refresh_invoice_status(uuid);
-- <<<

-- >>> sql/functions/invoices/update_invoice_status.sql as of 20250901000000_baseline sha256:22cf3dec430caa42818407fb5530b978fca547a4bee8ce4399a8330644c17f21
-- The last writer wins: the sum is read without a lock and written over whatever is there.
create or replace function public.update_invoice_status(invoice_uuid uuid)
returns void
language plpgsql
as $$
declare
  total numeric;
  paid numeric;
  due date;
  latest date;
begin
  select total_amount, due_date into total, due
  from public.invoice_metadata where id = invoice_uuid;

  select coalesce(sum(ip.amount_allocated), 0), max(p.payment_date) into paid, latest
  from public.invoice_payments as ip
  join public.payments as p on p.id = ip.payment_id
  where ip.invoice_id = invoice_uuid;

  update public.invoice_metadata
  set
    amount_paid = paid,
    amount_outstanding = total - paid,
    last_payment_date = latest,
    invoice_status = case
      when invoice_status = 'cancelled' then 'cancelled'
      when paid >= total then 'paid'
      when paid > 0 then 'partially_paid'
      when invoice_status = 'draft' then 'draft'
      when due < current_date then 'overdue'
      else 'sent'
    end,
    updated_at = now()
  where id = invoice_uuid;
end;
$$;
-- <<<

-- >>> sql/functions/invoices/update_invoice_status_with_sales_completion.sql as of 20250901000000_baseline sha256:3ba638ce3e50a204dcbef761086519065b55c165dbc43a7cc80aaa45d4559bdc
-- An invoice that becomes paid completes its Credit sales; one that is no longer paid bills them
-- again. Two callers at once each act on what they read.
create or replace function public.update_invoice_status_with_sales_completion(p_invoice_id uuid)
returns void
language plpgsql
as $$
declare
  old_status text;
  new_status text;
begin
  select invoice_status into old_status from public.invoice_metadata where id = p_invoice_id;

  perform public.update_invoice_status(p_invoice_id);

  select invoice_status into new_status from public.invoice_metadata where id = p_invoice_id;

  if new_status = 'paid' and old_status is distinct from 'paid' then
    update public.sales
    set payment_status = 'Completed', updated_at = now()
    where sale_type = 'Credit'
      and payment_status = 'Billed'
      and id in (
        select sale_id from public.invoice_line_items
        where invoice_id = p_invoice_id and sale_id is not null
      );
  elsif old_status = 'paid' and new_status is distinct from 'paid' then
    update public.sales
    set payment_status = 'Billed', updated_at = now()
    where sale_type = 'Credit'
      and payment_status = 'Completed'
      and id in (
        select sale_id from public.invoice_line_items
        where invoice_id = p_invoice_id and sale_id is not null
      );
  end if;
end;
$$;
-- <<<

-- >>> sql/functions/payments/balance_payment.sql was not there
drop function private.balance_payment(uuid);
-- <<<

-- >>> sql/functions/payments/check_payment_invariants.sql as of 20250917000000_gap_001_allocate_payment_atomic sha256:69ed3580bdff6833d96eb6e194324be5e44776f47b71f65e3fbd28488addd3ee
-- Every broken invariant of payments, invoices and their allocations, one row each; none when all
-- is well. The same questions as sql/invariants asks from outside, by the same names.
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
language sql
stable
security definer -- to whom row security hides rows, all would seem well
set search_path = pg_catalog, pg_temp
as $$
  with allocation as (
    select 'invoice_payment' as entity, id, payment_id, invoice_id as target_id,
      amount_allocated as amount
    from public.invoice_payments
    union all
    select 'opening_balance_payment', id, payment_id, customer_id, amount
    from public.opening_balance_payments
    union all
    select 'sales_payment', id, payment_id, sales_id, amount_allocated
    from public.sales_payments
  ),

  applied as (
    select payment_id, sum(amount) as amount
    from allocation
    group by payment_id
  ),

  paid as (
    select
      allocation.invoice_id,
      sum(allocation.amount_allocated) as amount,
      max(payment.payment_date) as last_payment_date
    from public.invoice_payments as allocation
    left join public.payments as payment on allocation.payment_id = payment.id
    group by allocation.invoice_id
  ),

  payment_truth as (
    select
      payment.*,
      coalesce(applied.amount, 0) as allocated,
      case
        when coalesce(applied.amount, 0) <= 0 then 'unapplied'
        when applied.amount < payment.amount then 'partially_applied'
        else 'fully_applied'
      end as true_status
    from public.payments as payment
    left join applied on payment.id = applied.payment_id
  ),

  invoice_truth as (
    select
      invoice.*,
      coalesce(paid.amount, 0) as allocated,
      paid.last_payment_date as true_date,
      case
        when coalesce(invoice.invoice_status, 'draft') in ('draft', 'cancelled')
          then invoice.invoice_status
        when coalesce(paid.amount, 0) >= invoice.total_amount then 'paid'
        when paid.amount > 0 then 'partially_paid'
        when invoice.invoice_status in ('sent', 'overdue') then invoice.invoice_status
        else 'sent'
      end as true_status
    from public.invoice_metadata as invoice
    left join paid on invoice.id = paid.invoice_id
  )

  select
    'payment_amounts_valid', 'payment', payment.id::text,
    'above 0, below 10^10, at most two decimals', payment.amount::text
  from public.payments as payment
  where not (
    payment.amount > 0 and payment.amount < 10000000000
    and payment.amount = round(payment.amount, 2)
  )
  union all
  select
    'invoice_totals_valid', 'invoice', invoice.id::text,
    '0 or more, below 10^10, at most two decimals', invoice.total_amount::text
  from public.invoice_metadata as invoice
  where not (
    invoice.total_amount >= 0 and invoice.total_amount < 10000000000
    and invoice.total_amount = round(invoice.total_amount, 2)
  )
  union all
  select
    'allocation_amounts_valid', allocation.entity, allocation.id::text,
    'above 0, below 10^10, at most two decimals', allocation.amount::text
  from allocation
  where not (
    allocation.amount > 0 and allocation.amount < 10000000000
    and allocation.amount = round(allocation.amount, 2)
  )
  union all
  select
    'allocations_two_sided', allocation.entity, allocation.id::text,
    'a payment and what it pays',
    case when allocation.payment_id is null then 'no payment' else 'nothing that it pays' end
  from allocation
  where allocation.payment_id is null or allocation.target_id is null
  union all
  select
    'payments_within_amount', 'payment', payment.id::text,
    'at most ' || payment.amount, payment.allocated || ' allocated'
  from payment_truth as payment
  where payment.allocated > payment.amount
  union all
  select
    'invoices_within_total', 'invoice', invoice.id::text,
    'at most ' || invoice.total_amount, invoice.allocated || ' allocated'
  from invoice_truth as invoice
  where invoice.allocated > invoice.total_amount
  union all
  select
    'payment_totals_true', 'payment', payment.id::text,
    concat_ws(
      ', ', payment.allocated || ' applied', payment.amount - payment.allocated || ' unapplied',
      payment.true_status
    ),
    concat_ws(
      ', ', coalesce(payment.amount_applied::text, 'null') || ' applied',
      coalesce(payment.amount_unapplied::text, 'null') || ' unapplied',
      coalesce(payment.allocation_status, 'null')
    )
  from payment_truth as payment
  where payment.amount_applied is distinct from payment.allocated
    or payment.amount_unapplied is distinct from payment.amount - payment.allocated
    or payment.allocation_status is distinct from payment.true_status
  union all
  select
    'invoice_totals_true', 'invoice', invoice.id::text,
    concat_ws(
      ', ', invoice.allocated || ' paid',
      invoice.total_amount - invoice.allocated || ' outstanding',
      coalesce(invoice.true_status, 'null'),
      'last ' || coalesce(invoice.true_date::text, 'never')
    ),
    concat_ws(
      ', ', coalesce(invoice.amount_paid::text, 'null') || ' paid',
      coalesce(invoice.amount_outstanding::text, 'null') || ' outstanding',
      coalesce(invoice.invoice_status, 'null'),
      'last ' || coalesce(invoice.last_payment_date::text, 'never')
    )
  from invoice_truth as invoice
  where invoice.amount_paid is distinct from invoice.allocated
    or invoice.amount_outstanding is distinct from invoice.total_amount - invoice.allocated
    or invoice.invoice_status is distinct from invoice.true_status
    or invoice.last_payment_date is distinct from invoice.true_date
  union all
  select
    'allocations_within_one_customer', 'invoice_payment', allocation.id::text,
    'payment and invoice of one customer',
    'payment of ' || coalesce(payment.customer_id::text, 'nobody')
    || ', invoice of ' || invoice.customer_id
  from public.invoice_payments as allocation
  inner join public.payments as payment on allocation.payment_id = payment.id
  inner join public.invoice_metadata as invoice on allocation.invoice_id = invoice.id
  where payment.customer_id is distinct from invoice.customer_id
  union all
  select
    'payments_allocated_have_customer', 'payment', payment.id::text,
    'a customer, or nothing allocated', payment.allocated || ' allocated'
  from payment_truth as payment
  where payment.customer_id is null and payment.allocated <> 0
  union all
  select
    'cancelled_invoices_hold_nothing', 'invoice', invoice.id::text,
    'nothing allocated', invoice.allocated || ' allocated'
  from invoice_truth as invoice
  where invoice.invoice_status = 'cancelled' and invoice.allocated <> 0
  union all
  select
    'money_conserved', 'dairy', null,
    sum(payment.amount) || ' received',
    sum(payment.allocated) || ' allocated, ' || sum(payment.amount_unapplied) || ' unapplied'
  from payment_truth as payment
  where payment.amount < 'Infinity' -- which NaN is not either
  having sum(payment.amount)
    is distinct from sum(payment.allocated) + sum(coalesce(payment.amount_unapplied, 0))
$$;

comment on function public.check_payment_invariants() is
'Every broken invariant of payments and invoices as a row; none when all is well.';

revoke all on function public.check_payment_invariants()
from public, anon, authenticated, service_role;
grant execute on function public.check_payment_invariants() to authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/check_payments.sql was not there
drop function private.check_payments();
-- <<<

-- >>> sql/functions/payments/derive_payment.sql as of 20250917000000_gap_001_allocate_payment_atomic sha256:239fdb26a5e2c2f918934624c911e00253fec284d5f416b414dc2d327368e400
-- Puts what follows from the allocations into a payment that somebody inserts or updates: whatever
-- the caller says of it is neither an error nor believed.
--
-- The counter only moves inside the triggers of the allocation tables, in an update that names counters
-- alone; that one does without this (outside_our_triggers). The amount, which the caller may change,
-- is taken as given.
--
-- Locks: none but the row's own.

create or replace function private.derive_payment()
returns trigger
language plpgsql
security definer -- the same for every caller, whatever that caller may execute
set search_path = pg_catalog, pg_temp
as $$
begin
  new.amount_applied := case when tg_op = 'UPDATE' then old.amount_applied else 0 end;
  new.amount_unapplied := new.amount - new.amount_applied;
  new.allocation_status := case
    when new.amount_applied <= 0 then 'unapplied'
    when new.amount_applied < new.amount then 'partially_applied'
    else 'fully_applied'
  end;

  return new;
end;
$$;

comment on function private.derive_payment() is
'Trigger: puts the true amount_applied, amount_unapplied and allocation_status.';

revoke all on function private.derive_payment() from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/hold_customer_and_payment.sql was not there
drop function private.hold_customer_and_payment(uuid);
-- <<<

-- >>> sql/functions/payments/hold_targets.sql was not there
drop function private.hold_targets(uuid, uuid[]);
-- <<<

-- >>> sql/functions/payments/refuse_allocation_of_voided.sql was not there
drop function private.refuse_allocation_of_voided();
-- <<<

-- >>> sql/functions/payments/refuse_voided.sql was not there
drop function private.refuse_voided();
-- <<<

-- >>> sql/functions/payments/rollback_partial_allocation.sql was not there
drop function public.rollback_partial_allocation(uuid);
-- <<<

-- >>> sql/functions/payments/unallocate_payment.sql was not there
drop function public.unallocate_payment(uuid, uuid[], text);
-- <<<

-- >>> sql/functions/payments/void_payment.sql was not there
drop function public.void_payment(uuid, text);
-- <<<

-- >>> sql/functions/privileges/default_privileges.sql was not there
drop function private.default_privileges(text, text);
-- <<<

-- >>> sql/functions/privileges/remember_default_privileges.sql was not there
drop function private.remember_default_privileges(text, text, text[]);
-- <<<

-- >>> sql/functions/privileges/remember_privileges.sql was not there
drop function private.remember_privileges(text, regprocedure[], regclass[]);
-- <<<

-- >>> sql/functions/privileges/restore_privileges.sql was not there
drop function private.restore_privileges(text);
-- <<<

-- >>> sql/functions/requests/claim_request.sql as of 20250917000000_gap_001_allocate_payment_atomic sha256:00ff11353b43a83d7da77f9ad22712b1d65d552df41df3c305d5c643df2d26ce
-- Begins a call that may carry an idempotency key: gives it an id, and the first answer when the
-- same key with the same arguments was answered before.
--
-- p_arguments are canonical (uuids, trimmed numerics, one spelling), so that two spellings of the
-- same request compare equal. A key lives 30 days; a claim sweeps a few expired ones away.
--
-- Locks: the key (lock_request), before any row.

create or replace function private.claim_request(
  p_function_name text,
  p_key text,
  p_arguments jsonb,
  out call_id uuid,
  out answer jsonb
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller text;
  v_earlier private.request_keys;
begin
  call_id := gen_random_uuid();
  if p_key is null then
    return;
  end if;

  -- lock
  v_caller := private.caller();
  perform private.lock_request(v_caller, p_key);

  -- check
  select request.* into v_earlier
  from private.request_keys as request
  where request.caller = v_caller
    and request.function_name = p_function_name
    and request.key = p_key
    and request.recorded_at > now() - interval '30 days';

  if found and v_earlier.undone_at is not null then
    raise exception using
      errcode = 'PT409',
      message = 'request_undone',
      detail = jsonb_build_object('key', p_key, 'undone_at', v_earlier.undone_at)::text,
      hint = 'This call was undone under its key; make a new call with a new key.';
  elsif found and v_earlier.arguments is distinct from p_arguments then
    raise exception using
      errcode = 'PT409',
      message = 'idempotency_key_reused',
      detail = jsonb_build_object('key', p_key, 'first_used_at', v_earlier.recorded_at)::text,
      hint = 'The key was used with other arguments; a new request needs a new key.';
  elsif found then
    call_id := v_earlier.call_id;
    answer := v_earlier.answer;
    return;
  end if;

  -- write
  delete from private.request_keys as request
  where request.ctid in (
    select expired.ctid
    from private.request_keys as expired
    where expired.recorded_at <= now() - interval '30 days'
    order by expired.recorded_at
    limit 20
    for update skip locked
  );
end;
$$;

comment on function private.claim_request(text, text, jsonb) is
'Begins a call: its id, and the first answer when this key was answered before.';

revoke all on function private.claim_request(text, text, jsonb)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/requests/given_reason.sql was not there
drop function private.given_reason(text);
-- <<<

-- >>> sql/functions/requests/request_outcome.sql as of 20250917000000_gap_001_allocate_payment_atomic sha256:6600de597e0dfdb75be69f20d3f88fef3dc2b128d6c3d33089c25e52a64d8eec
-- What became of the caller's own request: `unknown` (it never came, was refused, or is older than
-- 30 days), `done` (with its answer) or `undone`.
--
-- It waits for a call with that key that is still in flight, so that `unknown` is final for a call
-- that had reached the database. With one key used on several functions, the newest counts.
--
-- Locks: the key (lock_request).

create or replace function public.request_outcome(
  p_key text,
  out outcome text,
  out function_name text,
  out answer jsonb,
  out recorded_at timestamptz
)
returns record
language plpgsql
volatile
security definer -- the keys are kept in a schema that no caller may read
set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller text := private.caller();
  v_request private.request_keys;
begin
  if p_key is null or length(p_key) > 200 or btrim(p_key) = '' then
    raise exception using
      errcode = 'PT400',
      message = 'idempotency_key_invalid',
      detail = jsonb_build_object('length', length(p_key), 'longest', 200)::text,
      hint = 'Ask with the key of 1 to 200 characters that the call was sent with.';
  end if;

  -- lock
  perform private.lock_request(v_caller, p_key);

  -- return
  select request.* into v_request
  from private.request_keys as request
  where request.caller = v_caller
    and request.key = p_key
    and request.recorded_at > now() - interval '30 days'
  order by request.recorded_at desc
  limit 1;

  outcome := case
    when v_request.key is null then 'unknown'
    when v_request.undone_at is not null then 'undone'
    else 'done'
  end;
  function_name := v_request.function_name;
  answer := v_request.answer;
  recorded_at := v_request.recorded_at;
end;
$$;

comment on function public.request_outcome(text) is
'What became of the request with this idempotency key: unknown, done (with its answer) or undone.';

revoke all on function public.request_outcome(text) from public, anon, authenticated, service_role;
grant execute on function public.request_outcome(text) to authenticated, service_role;
-- <<<

-- >>> sql/functions/requests/undoable_functions.sql was not there
drop function private.undoable_functions();
-- <<<

comment on function public.update_invoice_status(uuid) is null;
comment on function public.update_invoice_status_with_sales_completion(uuid) is null;

-- what the gap added -----------------------------------------------------------------------------

drop table private.privileges_before;
alter table private.allocation_journal drop column reason;
alter table public.payments
drop column void_reason,
drop column voided_by,
drop column voided_at;
