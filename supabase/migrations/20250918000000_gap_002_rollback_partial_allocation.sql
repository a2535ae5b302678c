-- GAP-002: a status update that failed left money allocated and the invoice unpaid; and nothing
-- could undo an allocation but deleting rows by hand.
--
-- After this file an allocation can be undone by the key of the call that made it, taken off again,
-- and a payment voided; and the status functions that the app calls overwrite nobody's write any
-- more. docs/gaps/gap_002.md tells the whole story.
--
-- Locks: access exclusive on payments, from here to the commit (new columns; no row is rewritten).

-- what the gap adds ------------------------------------------------------------------------------

alter table public.payments
add column voided_at timestamptz,
add column voided_by text,
add column void_reason text;

alter table private.allocation_journal add column reason text;

create table private.privileges_before (
  migration text not null,
  kind text not null check (kind in ('function', 'table', 'column', 'default')),
  object text not null,
  part text not null default '',
  privileges aclitem[] not null,
  primary key (migration, kind, object, part)
);

comment on table private.privileges_before is
'Privileges of objects that a migration found and changed, for its rollback to restore.';

comment on column private.privileges_before.object is
'The function or table; of default privileges the schema, or nothing for all schemas.';
comment on column private.privileges_before.part is
'The column of a table; of default privileges tables, sequences or functions.';

alter table private.privileges_before enable row level security;
revoke all on private.privileges_before from public, anon, authenticated, service_role;

-- Who may call the app's two status functions differs from project to project: the rollback gives
-- it back as it was. (The functions that remember and restore this come with this very file.)
insert into private.privileges_before (migration, kind, object, privileges)
select
  '20250918000000_gap_002_rollback_partial_allocation' as migration,
  'function' as kind,
  'public.' || found.proname || '(uuid)' as object,
  coalesce(found.proacl, acldefault('f', found.proowner)) as privileges
from pg_proc as found
where
  found.oid in (
    'public.update_invoice_status(uuid)'::regprocedure,
    'public.update_invoice_status_with_sales_completion(uuid)'::regprocedure
  );

-- functions, quoted from sql/functions ----------------------------------------------------------

-- >>> sql/functions/allocations/allocate_to_invoices.sql sha256:d441bbdac5c1d1a5cdd2569beacedb0bcdf34bac5179dc91bd6aeadff052d6ff
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
  v_invoice record;
  v_faults text[];
  v_rooms numeric[];
  v_available numeric;
  v_left numeric;
  v_requested numeric := 0::numeric;
  v_beyond integer;
  v_applied numeric[];
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
      hint = 'A voided payment takes no allocation; record a new one for new money.';
  elsif v_payment.customer_id is null then
    raise exception using
      errcode = 'PT422',
      message = 'payment_without_customer',
      detail = jsonb_build_object('payment_id', p_payment_id)::text,
      hint = 'Set the customer of the payment, then allocate it.';
  end if;

  for v_invoice in
    select
      line.place,
      invoice.customer_id,
      invoice.invoice_status,
      invoice.total_amount,
      invoice.amount_paid
    from unnest(p_invoice_ids) with ordinality as line (invoice_id, place)
    inner join public.invoice_metadata as invoice on line.invoice_id = invoice.id
    order by invoice.id
    for no key update of invoice
  loop
    v_faults[v_invoice.place] := case
      when v_invoice.customer_id <> v_payment.customer_id then 'customer_mismatch'
      when v_invoice.invoice_status = 'cancelled' then 'invoice_cancelled'
    end;
    -- in whole paise, and nothing at all where a legacy amount is not a sum of money
    v_rooms[v_invoice.place] := case
      when v_invoice.total_amount < 10000000000
        then trim_scale(trunc(greatest(v_invoice.total_amount - v_invoice.amount_paid, 0), 2))
      else 0
    end;
  end loop;

  -- check
  v_available := case
    when v_payment.amount < 10000000000
      then trim_scale(trunc(greatest(v_payment.amount - v_payment.amount_applied, 0), 2))
    else 0
  end;
  v_left := v_available;

  for v_line in 1..cardinality(p_invoice_ids) loop
    if v_rooms[v_line] is null then
      raise exception using
        errcode = 'PT404',
        message = 'invoice_not_found',
        detail = jsonb_build_object('invoice_id', p_invoice_ids[v_line])::text,
        hint = 'The invoice does not exist or was deleted; reload the customer''s invoices.';
    elsif v_faults[v_line] = 'customer_mismatch' then
      raise exception using
        errcode = 'PT422',
        message = 'customer_mismatch',
        detail = jsonb_build_object(
          'payment_id', p_payment_id, 'invoice_id', p_invoice_ids[v_line]
        )::text,
        hint = 'Allocate the payment to invoices of its own customer.';
    elsif v_faults[v_line] = 'invoice_cancelled' then
      raise exception using
        errcode = 'PT409',
        message = 'invoice_cancelled',
        detail = jsonb_build_object('invoice_id', p_invoice_ids[v_line])::text,
        hint = 'A cancelled invoice takes no money; reload the customer''s invoices.';
    end if;

    v_requested := v_requested + p_amounts[v_line];
    v_applied[v_line] := least(p_amounts[v_line], v_rooms[v_line], v_left);
    v_left := v_left - v_applied[v_line];

    if v_beyond is null and p_amounts[v_line] > v_rooms[v_line] then
      v_beyond := v_line;
    end if;
  end loop;

  if p_refuse_excess and v_requested > v_available then
    raise exception using
      errcode = 'PT409',
      message = 'allocation_exceeds_payment',
      detail = jsonb_build_object(
        'payment_id', p_payment_id, 'requested', v_requested, 'available', v_available
      )::text,
      hint = 'Allocate no more than what is left of the payment.';
  elsif p_refuse_excess and v_beyond is not null then
    raise exception using
      errcode = 'PT409',
      message = 'allocation_exceeds_invoice',
      detail = jsonb_build_object(
        'invoice_id', p_invoice_ids[v_beyond],
        'requested', p_amounts[v_beyond],
        'available', v_rooms[v_beyond]
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

-- >>> sql/functions/allocations/count_invoice_payments.sql sha256:26c2b3636747102dd97149aeb3f0356fd9629e65a7251cd117d131cc0b2b13df
-- After any change of invoice_payments, by an RPC or directly: moves the counters of both sides and
-- writes the change into the journal, with the reason that the call or the writer gave.
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
  v_caller text;
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
  elsif exists (select from new_rows) then -- an `on conflict` that met none brings nothing
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

  v_caller := private.caller(); -- once, not for each row

  -- lock, check, write: first the payments, then the invoices
  perform private.move_amount_applied(v_payment_ids, v_changes);
  perform private.move_amount_paid(v_payment_ids, v_invoice_ids, v_changes);

  insert into private.allocation_journal (
    recorded_by, call_id, payment_id, invoice_id, amount_change, reason
  )
  select
    v_caller,
    nullif(current_setting('pymilk.call_id', true), '')::uuid,
    change.payment_id,
    change.invoice_id,
    change.amount,
    left(nullif(current_setting('pymilk.reason', true), ''), 1000)
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

-- >>> sql/functions/allocations/undo_call.sql sha256:1f3358e547821489c60e065b739753c6fb226a20583b4194433476df8510dea6
-- Undoes what one call allocated of a payment, or, without a call, what direct writes allocated in
-- the last 15 minutes: the core under rollback_partial_allocation.
--
-- Locks: the caller holds the payment, its customer, its invoices and sales.

create or replace function private.undo_call(
  p_payment_id uuid,
  p_call_id uuid,
  out affected_invoices integer,
  out removed_amount numeric
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- write
  select undone.affected_invoices, undone.removed_amount into affected_invoices, removed_amount
  from private.undo_invoice_payments(p_payment_id, p_call_id) as undone;
end;
$$;

comment on function private.undo_call(uuid, uuid) is
'Undoes what one call, or the direct writes of the last minutes, allocated of a payment.';

revoke all on function private.undo_call(uuid, uuid)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/allocations/undo_invoice_payments.sql sha256:c9d6e6bc6a96b2f376cf5886989529880a81104ba1fbf43b65cde5b0a9e59343
-- Takes off the invoices what one call put there, or, without a call, what direct writes put there
-- in the last 15 minutes; by the journal, and never more than is still there of it.
--
-- A pair's row may hold money of several calls and of direct writes. Its present life begins where
-- its journal last came to zero; what was taken off since is not known to belong to anybody, so what
-- the others put there stays in full, and only the rest of the row can come off. A row that is older
-- than 15 minutes is nothing that a half-done series of direct writes left behind.
--
-- Locks: the caller holds the payment and its invoices.

create or replace function private.undo_invoice_payments(
  p_payment_id uuid,
  p_call_id uuid,
  out affected_invoices integer,
  out removed_amount numeric
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids uuid[];
  v_amounts numeric[];
begin
  -- check
  with entry as (
    select
      allocation.id as allocation_id,
      allocation.amount_allocated as held,
      journal.id,
      journal.amount_change,
      case
        when p_call_id is not null then journal.call_id is not distinct from p_call_id
        else journal.call_id is null
          and journal.at > now() - interval '15 minutes'
          and allocation.created_at > now() - interval '15 minutes'
      end as named,
      journal.call_id,
      allocation.amount_allocated - coalesce(
        sum(journal.amount_change) over (
          partition by allocation.id
          order by journal.id
          rows between 1 following and unbounded following
        ), 0
      ) as held_after
    from public.invoice_payments as allocation
    inner join private.allocation_journal as journal
      on allocation.payment_id = journal.payment_id
      and allocation.invoice_id = journal.invoice_id
    where allocation.payment_id = p_payment_id
      and allocation.amount_allocated < 10000000000 -- which NaN is not
  ),

  life as (
    select
      entry.*,
      max(entry.id) filter (where entry.held_after <= 0)
        over (partition by entry.allocation_id) as ended
    from entry
  ),

  source as (
    select
      life.allocation_id,
      life.held,
      life.named,
      sum(life.amount_change) as amount
    from life
    where life.id > coalesce(life.ended, 0)
    group by life.allocation_id, life.held, life.named, life.call_id
  ),

  part as (
    select
      source.allocation_id,
      coalesce(sum(source.amount) filter (where source.named), 0) as named,
      source.held
      - greatest(source.held - sum(source.amount), 0) -- held before the journal began
      - coalesce(sum(source.amount) filter (where not source.named and source.amount > 0), 0)
        as rest
    from source
    group by source.allocation_id, source.held
  )

  select
    array_agg(part.allocation_id),
    array_agg(least(part.named, part.rest))
  into v_ids, v_amounts
  from part
  where least(part.named, part.rest) > 0;

  -- write
  delete from public.invoice_payments as allocation
  using unnest(v_ids, v_amounts) as undone (id, amount)
  where allocation.id = undone.id and allocation.amount_allocated = undone.amount;

  update public.invoice_payments as allocation
  set amount_allocated = allocation.amount_allocated - undone.amount, updated_at = now()
  from unnest(v_ids, v_amounts) as undone (id, amount)
  where allocation.id = undone.id;

  -- return
  select count(*)::integer, coalesce(sum(undone.amount), 0)
  into affected_invoices, removed_amount
  from unnest(v_amounts) as undone (amount);
end;
$$;

comment on function private.undo_invoice_payments(uuid, uuid) is
'Takes off the invoices what one call, or the direct writes of the last minutes, put there.';

revoke all on function private.undo_invoice_payments(uuid, uuid)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/refresh_invoice_status.sql sha256:32c9ec68cebf678d753104640924fee57fd592147d25cfa257244538ee1ecbc0
-- Refreshes what depends on the day: an invoice that nobody has paid is overdue from the day after
-- its due date on. Everything else about its status follows from the allocations as they change.
--
-- An unknown invoice is no error: the app is used to that.
-- Locks: the invoice, `for no key update`.

create or replace function private.refresh_invoice_status(p_invoice_id uuid)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- lock
  perform
  from public.invoice_metadata as invoice
  where invoice.id = p_invoice_id
  for no key update;

  -- write: the trigger derive_invoice puts the true status; that the date is named lets it see that
  -- no counter writes here, also where the app's own trigger calls
  update public.invoice_metadata as invoice
  set
    invoice_status = invoice.invoice_status,
    due_date = invoice.due_date,
    updated_at = now()
  where invoice.id = p_invoice_id;
end;
$$;

comment on function private.refresh_invoice_status(uuid) is
'Refreshes the status of an invoice to the dairy''s day.';

revoke all on function private.refresh_invoice_status(uuid)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/update_invoice_status.sql sha256:690e081d24c02c211325b4cc3c58ab24b1376ffe61f64513af11f33559be0db1
-- Refreshes the status of an invoice to the dairy's day. The totals follow the allocations by
-- themselves since gap 001, so nothing is summed and nobody's write is overwritten any more.
--
-- The app calls it after each of its own writes; an unknown invoice is no error, as before.
-- Locks: the invoice, then its sales by id where its being paid changes.

create or replace function public.update_invoice_status(invoice_uuid uuid)
returns void
language plpgsql
volatile
security definer -- an invoker's update that row security filters would change nothing, silently
set search_path = pg_catalog, pg_temp
as $$
begin
  -- write
  perform private.refresh_invoice_status(invoice_uuid);
end;
$$;

comment on function public.update_invoice_status(uuid) is
'Refreshes the status of an invoice to the dairy''s day; its totals are always true.';

revoke all on function public.update_invoice_status(uuid)
from public, anon, authenticated, service_role;
grant execute on function public.update_invoice_status(uuid) to authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/update_invoice_status_with_sales_completion.sql sha256:0a19056a2a318234f1e6bb700be0ef96bcc5337b9220c614b797940326acead9
-- Refreshes the status of an invoice to the dairy's day, and completes the Credit sales of one that
-- is paid. Sales follow the allocations by themselves since gap 001; a sale that joined an invoice
-- when that was paid already is completed here.
--
-- An unknown invoice is no error, as before.
-- Locks: the invoice, then its sales by id.

create or replace function public.update_invoice_status_with_sales_completion(p_invoice_id uuid)
returns void
language plpgsql
volatile
security definer -- an invoker's update that row security filters would change nothing, silently
set search_path = pg_catalog, pg_temp
as $$
declare
  v_sale_ids uuid[];
begin
  -- lock
  perform private.refresh_invoice_status(p_invoice_id);

  select array_agg(locked.id) into v_sale_ids
  from (
    select sale.id
    from public.sales as sale
    where sale.sale_type = 'Credit'
      and sale.payment_status = 'Billed'
      and sale.id in (
        select line.sale_id
        from public.invoice_line_items as line
        inner join public.invoice_metadata as invoice on line.invoice_id = invoice.id
        where invoice.id = p_invoice_id and invoice.invoice_status = 'paid'
      )
    order by sale.id
    for no key update
  ) as locked;

  -- write
  update public.sales as sale
  set payment_status = 'Completed', updated_at = now()
  where sale.id = any(v_sale_ids) and sale.payment_status = 'Billed';
end;
$$;

comment on function public.update_invoice_status_with_sales_completion(uuid) is
'Refreshes the status of an invoice, and completes the Credit sales of one that is paid.';

revoke all on function public.update_invoice_status_with_sales_completion(uuid)
from public, anon, authenticated, service_role;
grant execute on function public.update_invoice_status_with_sales_completion(uuid)
to authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/balance_payment.sql sha256:e5efffc684b83f14d824ec33294862b4dde1d5e99a47228a73dc1ac07caeebb8
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

-- >>> sql/functions/payments/check_payment_invariants.sql sha256:a60446bed0467b3829b4d2ed9ce57b323e162e1037b2ac416e5e10f9c843598d
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

-- >>> sql/functions/payments/check_payments.sql sha256:ff85005566fb29108414134cb3263da921f33d8a813e94c90e0a9888d139dc78
-- Every broken invariant of payments, one row each; a part of check_payment_invariants.
--
-- Locks: none. It reads one snapshot.

create or replace function private.check_payments()
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
        when payment.voided_at is not null then 0
        else payment.amount - coalesce(applied.amount, 0)
      end as true_rest,
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
      ', ', payment.allocated || ' applied', payment.true_rest || ' unapplied',
      payment.true_status
    ),
    concat_ws(
      ', ', coalesce(payment.amount_applied::text, 'null') || ' applied',
      coalesce(payment.amount_unapplied::text, 'null') || ' unapplied',
      coalesce(payment.allocation_status, 'null')
    )
  from payment_truth as payment
  where payment.amount_applied is distinct from payment.allocated
    or payment.amount_unapplied is distinct from payment.true_rest
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
    'voided_payments_hold_nothing', 'payment', payment.id::text,
    'nothing allocated', payment.allocated || ' allocated'
  from payment_truth as payment
  where payment.voided_at is not null and payment.allocated <> 0
  union all
  select
    'money_conserved', 'dairy', null,
    sum(payment.amount) || ' received',
    sum(payment.allocated) || ' allocated, '
    || coalesce(sum(payment.amount_unapplied), 0) || ' unapplied'
  from payment_truth as payment
  where payment.amount < 'Infinity' -- which NaN is not either
    and payment.voided_at is null
  having sum(payment.amount)
    is distinct from sum(payment.allocated) + sum(coalesce(payment.amount_unapplied, 0));
end;
$$;

comment on function private.check_payments() is
'Every broken invariant of payments as a row; none when all is well.';

revoke all on function private.check_payments() from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/derive_payment.sql sha256:3d72090d1013dc0ea3643c99c779b286b00734d1decf415e466ac8cffa84e08c
-- Puts what follows from the allocations into a payment that somebody inserts or updates: whatever
-- the caller says of it is neither an error nor believed.
--
-- The counter only moves inside the triggers of the allocation tables, in an update that names counters
-- alone; that one does without this (outside_our_triggers). The amount, which the caller may change,
-- is taken as given. Nothing is left of a voided payment; when it was voided, and by whom, is not the
-- caller's word either.
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
  new.amount_unapplied := case
    when new.voided_at is not null then 0
    else new.amount - new.amount_applied
  end;
  new.allocation_status := case
    when new.amount_applied <= 0 then 'unapplied'
    when new.amount_applied < new.amount then 'partially_applied'
    else 'fully_applied'
  end;

  if new.voided_at is null then
    new.voided_by := null;
    new.void_reason := null;
  elsif tg_op = 'UPDATE' and old.voided_at is null then
    new.voided_at := now();
    new.voided_by := private.caller();
  end if;

  return new;
end;
$$;

comment on function private.derive_payment() is
'Trigger: puts the true amount_applied, amount_unapplied and allocation_status.';

revoke all on function private.derive_payment() from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/hold_customer_and_payment.sql sha256:78b2090661da82df54068b57b7894d6212172c0795d6b220747d0c356042114a
-- Holds a payment, and its customer before it, until the transaction ends: where money may come off
-- an opening balance the customer's row moves too, and customers come before payments.
--
-- Refusals: PT400 payment_required; PT404 payment_not_found.
--
-- Locks: the customer, then the payment, `for no key update`.

create or replace function private.hold_customer_and_payment(p_payment_id uuid)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_payment_id is null then
    raise exception using
      errcode = 'PT400',
      message = 'payment_required',
      detail = jsonb_build_object('p_payment_id', null)::text,
      hint = 'Name the payment.';
  end if;

  -- lock
  perform
  from public.customers as customer
  where customer.id = (
    select payment.customer_id from public.payments as payment where payment.id = p_payment_id
  )
  for no key update;

  perform
  from public.payments as payment
  where payment.id = p_payment_id
  for no key update;

  if not found then
    raise exception using
      errcode = 'PT404',
      message = 'payment_not_found',
      detail = jsonb_build_object('payment_id', p_payment_id)::text,
      hint = 'The payment does not exist or was deleted; reload it.';
  end if;
end;
$$;

comment on function private.hold_customer_and_payment(uuid) is
'Holds a payment and its customer until the transaction ends.';

revoke all on function private.hold_customer_and_payment(uuid)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/hold_targets.sql sha256:23ac58e0e00b780a65fc05dcb7c305b332f6ad8891ce28462719674abc1acb61
-- Holds what a payment pays, and what it is about to pay, until the transaction ends: its invoices,
-- then the sales that it pays and those that its invoices bill, since they settle with them.
--
-- p_more_invoice_ids: invoices that it is about to pay.
-- Locks: invoices by id, then sales by id, `for no key update`; the caller holds the payment.

create or replace function private.hold_targets(p_payment_id uuid, p_more_invoice_ids uuid[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew took half of a call's time
as $$
declare
  v_invoice_ids uuid[];
begin
  -- lock
  v_invoice_ids := array(
    select allocation.invoice_id
    from public.invoice_payments as allocation
    where allocation.payment_id = p_payment_id
  ) || p_more_invoice_ids;

  perform
  from public.invoice_metadata as invoice
  where invoice.id = any(v_invoice_ids)
  order by invoice.id
  for no key update;

  perform
  from public.sales as sale
  where sale.id in (
    select line.sale_id
    from public.invoice_line_items as line
    where line.invoice_id = any(v_invoice_ids)
    union all
    select allocation.sales_id
    from public.sales_payments as allocation
    where allocation.payment_id = p_payment_id
  )
  order by sale.id
  for no key update;
end;
$$;

comment on function private.hold_targets(uuid, uuid[]) is
'Holds the invoices and sales of a payment until the transaction ends.';

revoke all on function private.hold_targets(uuid, uuid[])
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/refuse_allocation_of_voided.sql sha256:35e4c947c005202a4e4ac39d936c8879d53494eb9f51232639c6ff48858a594e
-- Refuses (23514) a voided payment that is allocated to something, whoever allocates or voids it.
--
-- One that offended before can be touched in other columns, and can get better. In a function and not
-- in a WHEN clause: every allocation comes by here, and Postgres reads a WHEN clause from its text
-- anew in each statement.
--
-- Locks: none but the row's own.

create or replace function private.refuse_allocation_of_voided()
returns trigger
language plpgsql
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- check
  if
    new.voided_at is not null
    and new.amount_applied <> 0
    and (old.voided_at is null or new.amount_applied > old.amount_applied)
  then
    raise exception using
      errcode = 'check_violation',
      schema = tg_table_schema,
      table = tg_table_name,
      constraint = 'payments_voided_holds_nothing',
      column = 'amount_applied',
      message = 'a voided payment is allocated to nothing',
      detail = jsonb_build_object('id', new.id, 'amount_applied', new.amount_applied)::text,
      hint = 'Take its allocations off first; void_payment does.';
  end if;

  return new;
end;
$$;

comment on function private.refuse_allocation_of_voided() is
'Trigger: refuses (23514) a voided payment that is allocated to something.';

revoke all on function private.refuse_allocation_of_voided()
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/refuse_voided.sql sha256:7650534612fc4de7cd7ca3c71ec4d121eb904da568ff067f7102a1610d06548b
-- Refuses (23514) a payment that is recorded as voided already: nobody could say who voided it, nor
-- why. The trigger's WHEN clause says when one is.
--
-- A row that says it was made earlier than now comes from a `--data-only` restore and keeps what it
-- was; the roles of the API restore nothing.
--
-- Locks: none.

create or replace function private.refuse_voided()
returns trigger
language plpgsql
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- check
  if
    new.created_at is not distinct from now()
    or current_setting('role', true) in ('anon', 'authenticated', 'service_role')
  then
    raise exception using
      errcode = 'check_violation',
      schema = tg_table_schema,
      table = tg_table_name,
      constraint = 'payments_recorded_live',
      column = 'voided_at',
      message = 'a payment is recorded first and voided then',
      detail = jsonb_build_object('id', new.id, 'voided_at', new.voided_at)::text,
      hint = 'Record the payment without voided_at, then call void_payment.';
  end if;

  return new;
end;
$$;

comment on function private.refuse_voided() is
'Trigger: refuses (23514) a payment that is recorded as voided already.';

revoke all on function private.refuse_voided() from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/rollback_partial_allocation.sql sha256:7fe4f6071035791ec04212d2fe4aafd09570b91c5b0d6494f0f596a0a38b9467
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
-- <<<

-- >>> sql/functions/payments/unallocate_payment.sql sha256:75de37964520bb0fd4a56317ab98852f914156aac61417b476b859139088ad69
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
-- <<<

-- >>> sql/functions/payments/void_payment.sql sha256:afbf1381281c776e502191917780988530b019d919ee42fc653485f5e6b312d9
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

-- >>> sql/functions/privileges/default_privileges.sql sha256:2a7173c9b9957dd268964b5bb487a28bff02c34e69bae9165d845fd748ac1060
-- What is granted on new objects that the current role makes: where nothing has been said about it,
-- what Postgres grants by itself.
--
-- p_schema: as regnamespace writes it; '' for all schemas.
-- p_kind: tables, sequences or functions.
-- Locks: none.

create or replace function private.default_privileges(p_schema text, p_kind text)
returns aclitem[]
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_kind "char" := (
    case p_kind when 'tables' then 'r' when 'sequences' then 'S' else 'f' end
  )::"char";
  v_owner oid := (select role.oid from pg_roles as role where role.rolname = current_user);
begin
  -- return
  return coalesce(
    (
      select said.defaclacl
      from pg_default_acl as said
      where said.defaclrole = v_owner
        and said.defaclobjtype = v_kind
        and said.defaclnamespace = coalesce(to_regnamespace(nullif(p_schema, ''))::oid, 0)
    ),
    -- what a schema says comes on top of what holds for all of them
    case
      when p_schema <> '' then '{}'
      else acldefault(case v_kind when 'S' then 's' else v_kind end, v_owner)
    end
  );
end;
$$;

comment on function private.default_privileges(text, text) is
'What is granted on new objects of the current role, in a schema or in all of them.';

revoke all on function private.default_privileges(text, text)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/privileges/remember_default_privileges.sql sha256:add632d7108034f1c98594c6336441496529d30898849313d85f1f26f5deed4a
-- Remembers what is granted on new objects of the current role, in a schema or in all of them, for
-- a migration that is about to change it: it differs from project to project.
--
-- p_schema: as regnamespace writes it; '' for all schemas.
-- p_kinds: of tables, sequences, functions.
-- Locks: none.

create or replace function private.remember_default_privileges(
  p_migration text,
  p_schema text,
  p_kinds text[]
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- write
  insert into private.privileges_before (migration, kind, object, part, privileges)
  select
    p_migration,
    'default',
    p_schema,
    named.kind,
    private.default_privileges(p_schema, named.kind)
  from unnest(p_kinds) as named (kind);
end;
$$;

comment on function private.remember_default_privileges(text, text, text[]) is
'Remembers what is granted on new objects of the current role, for a migration that changes it.';

revoke all on function private.remember_default_privileges(text, text, text[])
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/privileges/remember_privileges.sql sha256:700b3f91242c4fbbfa96dc9dd3fdf01e63f8c24f2feef10733945889915074c6
-- Remembers who may use functions and tables that a migration is about to grant or revoke anew,
-- although it did not make them: which privileges were there differs from project to project.
-- A table's columns are remembered with it, since revoking from the table takes theirs as well.
--
-- Refused is an object whose privileges its owner could not restore exactly: one on which somebody
-- else has granted something.
--
-- p_functions, p_tables: as regprocedure and regclass write them.
-- Locks: none.

create or replace function private.remember_privileges(
  p_migration text,
  p_functions regprocedure[],
  p_tables regclass[] default '{}'
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_object text;
begin
  -- write
  insert into private.privileges_before (migration, kind, object, part, privileges)
  select
    p_migration,
    'function',
    found.oid::regprocedure::text,
    '',
    coalesce(found.proacl, acldefault('f', found.proowner))
  from pg_proc as found
  where found.oid = any(p_functions)
  union all
  select
    p_migration,
    'table',
    found.oid::regclass::text,
    '',
    coalesce(found.relacl, acldefault('r', found.relowner))
  from pg_class as found
  where found.oid = any(p_tables)
  union all
  select p_migration, 'column', found.attrelid::regclass::text, found.attname, found.attacl
  from pg_attribute as found
  where found.attrelid = any(p_tables) and found.attacl is not null and not found.attisdropped;

  -- check
  select remembered.object into v_object
  from private.privileges_before as remembered
  cross join lateral aclexplode(nullif(remembered.privileges, '{}')) as held
  where remembered.migration = p_migration
    and held.grantor <> (select role.oid from pg_roles as role where role.rolname = current_user)
  order by remembered.object
  limit 1;

  if found then
    raise exception using
      errcode = '0LP01',
      message = format(
        'privileges on %s were granted by another role than %s', v_object, current_user
      ),
      hint = 'A rollback could not restore them exactly; grant them as the owner instead.';
  end if;
end;
$$;

comment on function private.remember_privileges(text, regprocedure[], regclass[]) is
'Remembers the privileges of functions and tables that a migration changes without making them.';

revoke all on function private.remember_privileges(text, regprocedure[], regclass[])
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/privileges/restore_privileges.sql sha256:a26dd5c0b617e5d1c89210019402401462ddec1800c7faacc27b801235f7ed06
-- Restores what remember_privileges and remember_default_privileges kept for a migration, and
-- forgets it: for that migration's rollback. Runs as the owner of the objects. What has been
-- dropped meanwhile is left alone.
--
-- Everything is taken back first, from the owner as well, and then granted in the order that was.
--
-- Locks: the catalog rows of the objects.

create or replace function private.restore_privileges(p_migration text)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_object record;
  v_grant record;
begin
  -- write
  for v_object in
    select
      case remembered.kind
        when 'default' then format(
          'alter default privileges %s',
          case when remembered.object <> '' then 'in schema ' || remembered.object || ' ' end
        )
        else ''
      end as prefix,
      case remembered.kind when 'column' then format(' (%I)', remembered.part) end as part,
      case remembered.kind
        when 'default' then remembered.part
        when 'column' then 'table ' || remembered.object
        else remembered.kind || ' ' || remembered.object
      end as name,
      remembered.privileges,
      present.privileges as privileges_now
    from private.privileges_before as remembered
    inner join lateral (
      select coalesce(found.proacl, acldefault('f', found.proowner)) as privileges
      from pg_proc as found
      where remembered.kind = 'function' and found.oid = to_regprocedure(remembered.object)
      union all
      select coalesce(found.relacl, acldefault('r', found.relowner))
      from pg_class as found
      where remembered.kind = 'table' and found.oid = to_regclass(remembered.object)
      union all
      select found.attacl
      from pg_attribute as found
      where remembered.kind = 'column'
        and found.attrelid = to_regclass(remembered.object)
        and found.attname = remembered.part
        and not found.attisdropped
      union all
      select private.default_privileges(remembered.object, remembered.part)
      where remembered.kind = 'default'
    ) as present on true
    where remembered.migration = p_migration
    -- a column after its table, from which everything is taken
    order by remembered.kind = 'column', remembered.kind, remembered.object, remembered.part
  loop
    -- dynamic: a grant can't be parameterised; names come from the catalog alone
    for v_grant in
      select distinct held.grantee
      from aclexplode(nullif(v_object.privileges_now, '{}')) as held
    loop
      execute format(
        '%srevoke all%s on %s from %s',
        v_object.prefix, v_object.part, v_object.name,
        case when v_grant.grantee = 0 then 'public' else v_grant.grantee::regrole::text end
      );
    end loop;

    for v_grant in
      select held.grantee, held.privilege_type, held.is_grantable
      from aclexplode(nullif(v_object.privileges, '{}')) with ordinality as held (
        grantor, grantee, privilege_type, is_grantable, position
      )
      order by held.position
    loop
      execute format(
        '%sgrant %s%s on %s to %s%s',
        v_object.prefix, v_grant.privilege_type, v_object.part, v_object.name,
        case when v_grant.grantee = 0 then 'public' else v_grant.grantee::regrole::text end,
        case when v_grant.is_grantable then ' with grant option' else '' end
      );
    end loop;
  end loop;

  delete from private.privileges_before as remembered
  where remembered.migration = p_migration;
end;
$$;

comment on function private.restore_privileges(text) is
'Restores the privileges that remember_privileges kept for a migration; for its rollback.';

revoke all on function private.restore_privileges(text)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/requests/claim_request.sql sha256:5eb644e93b8fd7f2bbc820f438f3924765d32c416060f6939c546177285c6cb4
-- Begins a call that may carry an idempotency key: gives it an id, and the first answer when the
-- same key with the same arguments was answered before.
--
-- p_arguments are canonical (uuids, trimmed numerics, one spelling), so that two spellings of the
-- same request compare equal. A key lives 30 days; a claim sweeps a few expired ones away. A call
-- that allocates and comes after its key was rolled back is refused, whatever its function; one that
-- had come before gets its answer as long as it was not undone itself, whatever else the key named.
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
  v_functions text[] := array[p_function_name];
  v_earlier private.request_keys;
begin
  call_id := gen_random_uuid();
  if p_key is null then
    return;
  end if;

  -- lock
  v_caller := private.caller();
  perform private.lock_request(v_caller, p_key);

  if p_function_name = any(private.undoable_functions()) then
    v_functions := v_functions || 'rollback_partial_allocation'::text;
  end if;

  -- check
  select request.* into v_earlier
  from private.request_keys as request
  where request.caller = v_caller
    and request.function_name = any(v_functions)
    and request.key = p_key
    and request.recorded_at > now() - interval '30 days'
  order by request.function_name = p_function_name desc
  limit 1;

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

-- >>> sql/functions/requests/given_reason.sql sha256:8466a37e408eeffeee69a85a53e7d25d454cd281c10d08b974726b65fe83339a
-- The reason that a caller gives, as it is kept: without blanks around it, null when there is none,
-- at most 1,000 characters.
--
-- Refusals: PT400 reason_too_long.
--
-- Locks: none.

create or replace function private.given_reason(p_reason text)
returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_reason text := nullif(regexp_replace(p_reason, '^\s+|\s+$', '', 'g'), '');
begin
  -- check
  if length(v_reason) > 1000 then
    raise exception using
      errcode = 'PT400',
      message = 'reason_too_long',
      detail = jsonb_build_object('length', length(v_reason), 'longest', 1000)::text,
      hint = 'Say it in at most 1,000 characters.';
  end if;

  -- return
  return v_reason;
end;
$$;

comment on function private.given_reason(text) is
'The reason that a caller gives, trimmed; null when there is none.';

revoke all on function private.given_reason(text) from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/requests/request_outcome.sql sha256:7bcba969a843e72e5b34c7a3f5d7abfca2bd0bcc093c32402127d33da9cb50df
-- What became of the caller's own request: `unknown` (it never came, was refused, or is older than
-- 30 days), `done` (with its answer) or `undone`.
--
-- It waits for a call with that key that is still in flight, so that `unknown` is final for a call
-- that had reached the database. With one key used on several functions, the newest counts; the
-- rollback that undid a call only where the call itself is not known.
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
  order by request.function_name = 'rollback_partial_allocation', request.recorded_at desc
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
'What became of the caller''s own request with this idempotency key.

Unknown is final for a call that had reached the database: one still in flight is waited for.

p_key: the key that the call was made under
outcome "unknown" | "done" | "undone"
function_name: what was called
answer: what it answered
never null: outcome';

revoke all on function public.request_outcome(text) from public, anon, authenticated, service_role;
grant execute on function public.request_outcome(text) to authenticated, service_role;
-- <<<

-- >>> sql/functions/requests/undoable_functions.sql sha256:44616fc278b518e08ffab5618f78e8be569a862b33badc73025d81f5fc93db7e
-- The functions whose calls rollback_partial_allocation undoes by their key: those that allocate.
--
-- Their requests keep the payment as payment_id, in the arguments or, where the call makes the
-- payment itself, in the answer.
--
-- Locks: none.

create or replace function private.undoable_functions()
returns text[]
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return array[
    'allocate_payment_atomic',
    'allocate_opening_balance_atomic',
    'allocate_payment_to_sales_atomic',
    'auto_allocate_payment',
    'record_payment_atomic'
  ];
end;
$$;

comment on function private.undoable_functions() is
'The functions whose calls can be undone by their idempotency key.';

revoke all on function private.undoable_functions() from public, anon, authenticated, service_role;
-- <<<

-- voided payments: what of them may still change ---------------------------------------------------

create or replace trigger derive_payment_on_insert
before insert on public.payments
for each row
when (
  new.amount_applied is distinct from 0
  or new.amount_unapplied is distinct from new.amount
  or new.allocation_status is distinct from 'unapplied'
  or num_nonnulls(new.voided_at, new.voided_by, new.void_reason) > 0
)
execute function private.derive_payment();

create or replace trigger derive_payment_on_update
before update of amount, voided_at, voided_by, void_reason on public.payments
for each row
execute function private.derive_payment();

create trigger refuse_voided_on_insert
before insert on public.payments
for each row
when (new.voided_at is not null)
execute function private.refuse_voided();

create trigger refuse_voiding_without_reason
before update of voided_at on public.payments
for each row
when (
  new.voided_at is not null
  and old.voided_at is null
  and coalesce(new.void_reason, '') !~ '\S'
)
execute function private.refuse_row(
  'payments_void_has_reason',
  'void_reason',
  'a payment is voided with a reason',
  'Say why in void_reason, or call void_payment.'
);

create trigger refuse_allocation_of_voided
before update of amount_applied, voided_at on public.payments
for each row
execute function private.refuse_allocation_of_voided();

create trigger refuse_change_of_voided
before update of amount, voided_at, voided_by, void_reason on public.payments
for each row
when (
  old.voided_at is not null
  and (
    new.voided_at is distinct from old.voided_at
    or new.voided_by is distinct from old.voided_by
    or new.void_reason is distinct from old.void_reason
    or new.amount is distinct from old.amount
  )
)
execute function private.refuse_row(
  'payments_voided_for_good',
  'voided_at',
  'a voided payment stays voided, with its amount',
  'Record a new payment for new money.'
);
