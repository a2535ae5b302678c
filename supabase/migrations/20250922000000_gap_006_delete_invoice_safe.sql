-- GAP-006: deleting an invoice reverted sales by date range, so it touched other invoices' sales.
--
-- After this file each line of an invoice says whether it bills its delivery or sale (`bills`); a
-- unique index holds that nobody bills twice, whoever writes. Deleting, cancelling and removing
-- lines sets free exactly what was billed, what an issued invoice bills stays as it is, and the audit
-- trail tells who did what.
-- docs/gaps/gap_006.md tells the whole story.
--
-- Locks: adding columns takes access exclusive on invoice_metadata and invoice_line_items
-- (without a rewrite): both wait for the commit, reads included. The indexes and triggers take
-- share row exclusive on payments, customers, sales and deliveries, where reading goes on.
--
-- Lock order of everything that runs later: idempotency key, customers, payments, invoices, sales,
-- each by id, `for no key update`; deleting and recovering take the invoice `for update` at once.

-- what the gap adds ------------------------------------------------------------------------------

alter table public.invoice_metadata
add column deleted_at timestamptz,
add column deleted_by text,
add column status_before_deletion text;

comment on column public.invoice_metadata.deleted_at is
'When the invoice was deleted; it can be recovered. A deleted invoice is cancelled.';

alter table public.invoice_line_items add column bills boolean not null default true;

comment on column public.invoice_line_items.bills is
'Whether this line holds its delivery or sale billed: not on a cancelled or deleted invoice.';

create table public.invoice_sales_mapping (
  invoice_id uuid not null,
  sale_id uuid not null,
  mapped_at timestamptz not null default now(),
  released_at timestamptz,
  primary key (invoice_id, sale_id)
);

comment on table public.invoice_sales_mapping is
'Which invoice billed which sale, and until when; kept by the database, it outlives the invoice.';

create index invoice_sales_mapping_sale on public.invoice_sales_mapping (sale_id);

create table public.audit_trail (
  id bigint generated always as identity primary key,
  at timestamptz not null default now(),
  recorded_by text not null,
  action text not null,
  entity text not null,
  entity_id uuid,
  was jsonb,
  became jsonb,
  reason text,
  call_id uuid
);

comment on table public.audit_trail is
'What happened to payments, invoices and balances, and who did it; only ever appended to.';

create index audit_trail_entity on public.audit_trail (entity_id);

alter table public.invoice_sales_mapping enable row level security;
alter table public.audit_trail enable row level security;

create policy "Staff read" on public.invoice_sales_mapping
for select to authenticated using (true);
create policy "Staff read" on public.audit_trail
for select to authenticated using (true);

revoke all on public.invoice_sales_mapping, public.audit_trail
from public, anon, authenticated, service_role;
grant select on public.invoice_sales_mapping, public.audit_trail to authenticated, service_role;
revoke all on sequence public.audit_trail_id_seq from public, anon, authenticated, service_role;

select private.remember_privileges(
  '20250922000000_gap_006_delete_invoice_safe',
  array['public.delete_invoice_and_revert_sales(uuid)']::regprocedure[]
);

-- functions, quoted from sql/functions ----------------------------------------------------------

-- >>> sql/functions/audit/audit_edit.sql sha256:a3478f13797fef46f2c0d6bcc2e91e0c080e0afd3c1f9b0232db0da18fe98dac
-- After somebody edited a row: enters what changed into the audit trail, as it was and as it
-- became.
--
-- It is what people say that is entered. When counters move this is not even called, or goes at once:
-- every allocation of an invoice comes by here. Among issued invoices the status follows from money
-- and dates; to and from draft and cancelled it is somebody's word.
-- Columns that follow from others are left out of the entry. What happened gets its own name where
-- it has one: voided, deleted, recovered, cancelled, reinstated.
--
-- Trigger argument: what a row is called (payment, invoice, customer).
-- Locks: none.

create or replace function private.audit_edit()
returns trigger
language plpgsql
security definer -- the trail is written by the database alone
set search_path = pg_catalog, pg_temp
as $$
declare
  v_was jsonb;
  v_became jsonb;
begin
  if tg_argv[0] = 'invoice' then
    if new.amount_paid is distinct from old.amount_paid then
      return null; -- only the counter's own update moves it, and says nothing else
    end if;
  end if;

  v_was := to_jsonb(old);
  v_became := to_jsonb(new);

  insert into public.audit_trail (
    recorded_by, action, entity, entity_id, was, became, reason, call_id
  )
  select
    private.caller(),
    case
      when v_was ->> 'voided_at' is null and v_became ->> 'voided_at' is not null then 'voided'
      when v_was ->> 'deleted_at' is null and v_became ->> 'deleted_at' is not null then 'deleted'
      when v_was ->> 'deleted_at' is not null and v_became ->> 'deleted_at' is null
        then 'recovered'
      when
        v_became ->> 'invoice_status' = 'cancelled'
        and v_was ->> 'invoice_status' is distinct from 'cancelled'
        then 'cancelled'
      when
        v_was ->> 'invoice_status' = 'cancelled'
        and v_became ->> 'invoice_status' is distinct from 'cancelled'
        then 'reinstated'
      else 'edited'
    end,
    tg_argv[0],
    new.id,
    jsonb_object_agg(changed.name, v_was -> changed.name),
    jsonb_object_agg(changed.name, changed.value),
    nullif(current_setting('pymilk.reason', true), ''),
    nullif(current_setting('pymilk.call_id', true), '')::uuid
  from jsonb_each(v_became) as changed (name, value)
  where changed.value is distinct from v_was -> changed.name
    and changed.name <> all (array[
      'amount_applied', 'amount_unapplied', 'allocation_status', 'amount_paid',
      'amount_outstanding', 'last_payment_date', 'opening_balance_paid', 'updated_at'
    ])
  having bool_or(
    changed.name <> 'invoice_status'
    or v_was ->> 'invoice_status' in ('draft', 'cancelled')
    or v_became ->> 'invoice_status' in ('draft', 'cancelled')
  );

  return null;
end;
$$;

comment on function private.audit_edit() is
'Trigger: enters an edit into the audit trail. Argument: what a row is called.';

revoke all on function private.audit_edit() from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/audit/audit_removed_lines.sql sha256:6cc623846133466ed74c238f9fad853543216022972e45fc9bb91d8c40de43cb
-- After lines of invoices were deleted: enters them into the audit trail, one entry an invoice.
--
-- Locks: none.

create or replace function private.audit_removed_lines()
returns trigger
language plpgsql
security definer -- the trail is written by the database alone
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into public.audit_trail (recorded_by, action, entity, entity_id, was, reason, call_id)
  select
    private.caller(),
    'lines_removed',
    'invoice',
    gone.invoice_id,
    jsonb_build_object('lines', jsonb_agg(to_jsonb(gone) order by gone.id)),
    nullif(current_setting('pymilk.reason', true), ''),
    nullif(current_setting('pymilk.call_id', true), '')::uuid
  from old_rows as gone
  group by gone.invoice_id;

  return null;
end;
$$;

comment on function private.audit_removed_lines() is
'Trigger: enters deleted lines of invoices into the audit trail.';

revoke all on function private.audit_removed_lines()
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/audit/audit_rows.sql sha256:b17673af46f8c6835547893b69c9284b1b80d4fe9d7e33f18ea39b962247ded6
-- After rows were inserted or deleted: enters them, whole, into the audit trail.
--
-- A row that says it was made earlier than now comes from a `--data-only` restore, and what the
-- trail says of it is restored by itself; the roles of the API restore nothing and are believed
-- nothing.
--
-- Trigger argument: what a row is called (payment, invoice).
-- Locks: none.

create or replace function private.audit_rows()
returns trigger
language plpgsql
security definer -- the trail is written by the database alone
set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'INSERT' then
    insert into public.audit_trail (
      recorded_by, action, entity, entity_id, became, reason, call_id
    )
    select
      private.caller(),
      'created',
      tg_argv[0],
      added.id,
      to_jsonb(added),
      nullif(current_setting('pymilk.reason', true), ''),
      nullif(current_setting('pymilk.call_id', true), '')::uuid
    from new_rows as added
    where added.created_at is not distinct from now()
      or current_setting('role', true) in ('anon', 'authenticated', 'service_role');
  else
    insert into public.audit_trail (
      recorded_by, action, entity, entity_id, was, reason, call_id
    )
    select
      private.caller(),
      'removed',
      tg_argv[0],
      gone.id,
      to_jsonb(gone),
      nullif(current_setting('pymilk.reason', true), ''),
      nullif(current_setting('pymilk.call_id', true), '')::uuid
    from old_rows as gone;
  end if;

  return null;
end;
$$;

comment on function private.audit_rows() is
'Trigger: enters inserted and deleted rows into the audit trail. Argument: what a row is called.';

revoke all on function private.audit_rows() from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/bill_invoices.sql sha256:e7fbf8643193baeb9458c2ed69bbc1e6ab08a8958106ea18f272ce4978ec14ff
-- Lines of invoices that were cancelled bill nothing; those of invoices that came back bill again, and a
-- unique index refuses (23505) what somebody else bills by now.
--
-- It can be asked twice: lines that say already what they should are left alone.
--
-- Locks: the caller holds the invoices; deliveries and sales by id, `for no key update`.

create or replace function private.bill_invoices(p_cancelled uuid[], p_reinstated uuid[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew takes longer than its work
as $$
declare
  v_direct constant boolean := coalesce(current_setting('pymilk.call_id', true), '') = '';
  v_invoice_ids uuid[];
  v_sale_ids uuid[];
  v_delivering_by uuid[];
  v_delivery_ids uuid[];
  v_line_ids uuid[];
begin
  -- write
  if p_cancelled is not null then
    with freed as (
      update public.invoice_line_items as line
      set bills = false
      where line.invoice_id = any(p_cancelled) and line.bills
      returning line.invoice_id, line.sale_id, line.delivery_id
    )

    select array_agg(freed.invoice_id), array_agg(freed.sale_id), array_agg(freed.delivery_id)
    into v_invoice_ids, v_sale_ids, v_delivery_ids
    from freed
    where freed.sale_id is not null or freed.delivery_id is not null;

    if v_invoice_ids is not null then
      perform private.free_billed(v_invoice_ids, v_sale_ids, v_delivery_ids);
    end if;
  end if;

  if p_reinstated is not null then
    with billed as (
      update public.invoice_line_items as line
      set bills = true
      where line.invoice_id = any(p_reinstated) and not line.bills
      returning line.invoice_id, line.sale_id, line.delivery_id
    )

    select
      array_agg(billed.invoice_id) filter (where billed.sale_id is not null),
      array_agg(billed.sale_id) filter (where billed.sale_id is not null),
      array_agg(billed.invoice_id) filter (where billed.delivery_id is not null),
      array_agg(billed.delivery_id) filter (where billed.delivery_id is not null)
    into v_invoice_ids, v_sale_ids, v_delivering_by, v_delivery_ids
    from billed;

    -- recover_invoice has looked at them, and holds the customer
    if v_delivery_ids is not null and v_direct then
      perform private.take_deliveries(v_delivering_by, v_delivery_ids);
    end if;

    if v_sale_ids is not null then
      perform private.keep_settled_sales(v_sale_ids);
      perform private.take_sales(v_invoice_ids, v_sale_ids);
    end if;

    if v_direct then
      select array_agg(line.id) into v_line_ids
      from public.invoice_line_items as line
      where line.invoice_id = any(p_reinstated);

      perform private.keep_line_totals(v_line_ids);
    end if;
  end if;
end;
$$;

comment on function private.bill_invoices(uuid[], uuid[]) is
'Sets free what cancelled invoices billed, and bills what invoices that came back bill.';

revoke all on function private.bill_invoices(uuid[], uuid[])
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/bill_with_invoice.sql sha256:0cd5918618b1a53df81a689ab20ea2c4e21a7f92cc9b96617403a1a080d1fa84
-- After invoices were cancelled: their lines bill nothing. After they came back: their lines bill
-- again (bill_invoices). All those of a statement at once; where the owner writes inside of a trigger,
-- and could be the counters, this is not called, and settle_sales sees to each.
--
-- Locks: the invoices are held by the update itself; then deliveries and sales by id, `for no key
-- update`.

create or replace function private.bill_with_invoice()
returns trigger
language plpgsql
security definer -- an invoker's update that row security filters would change nothing, silently
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew takes longer than its work
as $$
declare
  v_cancelled uuid[];
  v_reinstated uuid[];
begin
  select
    array_agg(became.id) filter (where became.invoice_status = 'cancelled'),
    array_agg(became.id) filter (where became.invoice_status is distinct from 'cancelled')
  into v_cancelled, v_reinstated
  from new_rows as became
  inner join old_rows as was on became.id = was.id
  where (became.invoice_status = 'cancelled') is distinct from (was.invoice_status = 'cancelled');

  -- write
  if v_cancelled is not null or v_reinstated is not null then
    perform private.bill_invoices(v_cancelled, v_reinstated);
  end if;

  return null;
end;
$$;

comment on function private.bill_with_invoice() is
'Trigger: lines of an invoice that is cancelled bill nothing, and bill again when it comes back.';

revoke all on function private.bill_with_invoice() from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/check_billing.sql sha256:51049456776acdbd8a37d7f209d2bbb9449e9b5471c6591b5ec31ff4a253ae46
-- Every broken invariant of billing, one row each; a part of check_payment_invariants.
--
-- Locks: none. It reads one snapshot.

create or replace function private.check_billing()
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
  with line as (
    -- each line once, with what it bills, and all that is asked of it
    select
      item.id,
      item.sale_id,
      item.delivery_id,
      item.bills,
      item.line_total,
      invoice.customer_id,
      invoice.id is not null and invoice.invoice_status is distinct from 'cancelled' as live,
      sale.id is not null
      and (sale.sale_type <> 'Credit' or sale.customer_id is distinct from invoice.customer_id)
        as of_a_sale_of_others,
      sale.sale_type,
      sale.customer_id as sold_to,
      delivery.id is not null
      and (
        delivery.customer_id <> invoice.customer_id
        or delivery.delivery_status is distinct from 'delivered'
      ) as of_a_delivery_of_others,
      delivery.delivery_status,
      delivery.customer_id as delivered_to,
      coalesce(
        delivery.total_amount + sale.total_amount, delivery.total_amount, sale.total_amount
      ) as billed
    from public.invoice_line_items as item
    left join public.invoice_metadata as invoice on item.invoice_id = invoice.id
    left join public.deliveries as delivery on item.delivery_id = delivery.id
    left join public.sales as sale on item.sale_id = sale.id
  ),

  strange as materialized (
    select *
    from line
    where (line.live and (line.of_a_sale_of_others or line.of_a_delivery_of_others))
      or (line.bills and line.line_total <> line.billed)
      or line.bills <> line.live
  ),

  -- what may stand on several lines: of lines that bill, in the order of an index
  repeated_sale as materialized (
    select item.sale_id
    from public.invoice_line_items as item
    where item.bills and item.sale_id is not null
    group by item.sale_id
    having count(*) > 1
    union
    select item.sale_id
    from public.invoice_line_items as item
    where not item.bills and item.sale_id is not null
  ),

  repeated_delivery as materialized (
    select item.delivery_id
    from public.invoice_line_items as item
    where item.bills and item.delivery_id is not null
    group by item.delivery_id
    having count(*) > 1
    union
    select item.delivery_id
    from public.invoice_line_items as item
    where not item.bills and item.delivery_id is not null
  ),

  lines as (
    select item.invoice_id, coalesce(sum(item.line_total), 0) as amount
    from public.invoice_line_items as item
    group by item.invoice_id
  )

  select
    'billed_once', 'sale', item.sale_id::text,
    'one line of a live invoice', count(*) || ' lines of live invoices'
  from repeated_sale
  inner join public.invoice_line_items as item on repeated_sale.sale_id = item.sale_id
  inner join public.invoice_metadata as invoice on item.invoice_id = invoice.id
  where invoice.invoice_status is distinct from 'cancelled'
  group by item.sale_id
  having count(*) > 1
  union all
  select
    'billed_once', 'delivery', item.delivery_id::text,
    'one line of a live invoice', count(*) || ' lines of live invoices'
  from repeated_delivery
  inner join public.invoice_line_items as item on repeated_delivery.delivery_id = item.delivery_id
  inner join public.invoice_metadata as invoice on item.invoice_id = invoice.id
  where invoice.invoice_status is distinct from 'cancelled'
  group by item.delivery_id
  having count(*) > 1
  union all
  select
    'billed_sales_are_the_customers', 'invoice_line', line.id::text,
    'a Credit sale of ' || line.customer_id,
    line.sale_type || ' sale of ' || coalesce(line.sold_to::text, 'nobody')
  from strange as line
  where line.live and line.of_a_sale_of_others
  union all
  select
    'billed_deliveries_are_the_customers', 'invoice_line', line.id::text,
    'a delivery made to ' || line.customer_id,
    concat(coalesce(line.delivery_status, 'no status'), ', delivery to ', line.delivered_to)
  from strange as line
  where line.live and line.of_a_delivery_of_others
  union all
  select
    'billed_amounts_are_the_lines', 'invoice_line', line.id::text,
    line.billed::text, line.line_total::text
  from strange as line
  where line.bills and line.line_total <> line.billed
  union all
  select
    'issued_invoices_add_up', 'invoice', invoice.id::text,
    'lines of ' || invoice.total_amount, 'lines of ' || lines.amount
  from public.invoice_metadata as invoice
  inner join lines on invoice.id = lines.invoice_id
  where coalesce(invoice.invoice_status, 'draft') not in ('draft', 'cancelled')
    and invoice.total_amount <> lines.amount
  union all
  select
    'deleted_invoices_are_cancelled', 'invoice', invoice.id::text,
    'cancelled', coalesce(invoice.invoice_status, 'null')
  from public.invoice_metadata as invoice
  where invoice.deleted_at is not null and invoice.invoice_status is distinct from 'cancelled'
  union all
  select
    'lines_bill_while_live', 'invoice_line', line.id::text,
    case when line.live then 'bills' else 'bills nothing' end,
    case when line.bills then 'bills' else 'bills nothing' end
  from strange as line
  where line.bills <> line.live
    and not (
      line.live
      and exists (
        select
        from public.invoice_line_items as other
        where other.bills
          and (other.sale_id = line.sale_id or other.delivery_id = line.delivery_id)
      )
    )
  union all
  select
    'mapping_agrees_with_lines', 'sale', coalesce(line.sale_id, mapping.sale_id)::text,
    case
      when line.sale_id is null then 'billed by nobody'
      else 'billed by ' || line.invoice_id
    end,
    case
      when mapping.sale_id is null then 'billed by nobody'
      else 'billed by ' || mapping.invoice_id
    end
  from (
    select billing.invoice_id, billing.sale_id
    from public.invoice_line_items as billing
    where billing.bills and billing.sale_id is not null
  ) as line
  full join (
    select billing.invoice_id, billing.sale_id
    from public.invoice_sales_mapping as billing
    where billing.released_at is null
  ) as mapping on line.invoice_id = mapping.invoice_id and line.sale_id = mapping.sale_id
  where line.sale_id is null or mapping.sale_id is null;
end;
$$;

comment on function private.check_billing() is
'Every broken invariant of billing as a row; none when all is well.';

revoke all on function private.check_billing() from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/delete_invoice_and_revert_sales.sql sha256:d9c97fe8b5c39031cc0a492f2c5a03840cd2728d39d61aae04d5574ac68b4181
-- The app's own way to delete an invoice: for good, and only the sales that this invoice billed are
-- Pending again (it used to revert all of the customer's sales by the invoice's dates).
--
-- An unknown invoice is answered, not refused, as it always was; money on the invoice is refused.
--
-- Refusals:
--   PT400 idempotency_key_invalid
--   PT404 invoice_not_found (deleted by somebody else at this very moment)
--   PT409 invoice_holds_money, idempotency_key_reused, request_undone
--
-- Locks: the idempotency key, the customer, payments that name the invoice, the invoice `for
-- update`, its sales by id.

create or replace function public.delete_invoice_and_revert_sales(p_invoice_id uuid)
returns jsonb
language plpgsql
volatile
security definer -- sales and the audit trail are written by the database alone
set search_path = pg_catalog, pg_temp
as $$
declare
  v_key text := private.idempotency_key();
  v_outer_call text := coalesce(current_setting('pymilk.call_id', true), ''); -- in its trigger
  v_arguments jsonb := jsonb_build_object('invoice_id', p_invoice_id);
  v_request record;
  v_invoice_number text;
  v_deleted record;
  v_answer jsonb;
begin
  -- lock
  select claimed.call_id, claimed.answer into v_request
  from private.claim_request('delete_invoice_and_revert_sales', v_key, v_arguments) as claimed;

  if v_request.answer is not null then
    return v_request.answer;
  end if;

  -- check and write
  select invoice.invoice_number into v_invoice_number
  from public.invoice_metadata as invoice
  where invoice.id = p_invoice_id;

  if not found then
    return jsonb_build_object('success', false, 'error', 'Invoice not found');
  end if;

  perform set_config('pymilk.call_id', v_request.call_id::text, true);

  select deleted.reverted_sales_count, deleted.line_items_count into v_deleted
  from private.delete_invoices(array[p_invoice_id], true) as deleted;

  perform set_config('pymilk.call_id', v_outer_call, true);

  -- return
  v_answer := jsonb_build_object(
    'success', true,
    'invoice_number', v_invoice_number,
    'reverted_sales_count', v_deleted.reverted_sales_count,
    'deleted_line_items_count', v_deleted.line_items_count
  );

  perform private.finish_request(
    'delete_invoice_and_revert_sales', v_key, v_arguments, v_request.call_id, v_answer
  );

  return v_answer;
end;
$$;

comment on function public.delete_invoice_and_revert_sales(uuid) is
'Deletes an invoice for good; the sales that it billed are Pending again. Refused while money is
allocated to it.

returns {"success": boolean, "error"?: text, "invoice_number"?: text | null,
  "reverted_sales_count"?: integer, "deleted_line_items_count"?: integer}';

revoke all on function public.delete_invoice_and_revert_sales(uuid)
from public, anon, authenticated, service_role;
grant execute on function public.delete_invoice_and_revert_sales(uuid)
to authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/delete_invoice_safe.sql sha256:dc39205cd36c3b4a054c3e9058ab70e890c284effce8f777111376371eb1ecd9
-- Deletes an invoice and sets free the sales and deliveries that it billed, and no others.
--
-- Without p_permanent it can be recovered (recover_invoice); with it, lines and invoice are gone
-- and the audit trail keeps a copy. Either way it is refused while money is allocated to the
-- invoice.
--
-- With an idempotency key the same call gets its first answer again (see claim_request).
--
-- Refusals, raised so that nothing stays written:
--   PT400 invoice_required, idempotency_key_invalid
--   PT404 invoice_not_found
--   PT409 invoice_deleted, invoice_holds_money, idempotency_key_reused, request_undone
--
-- Locks: the idempotency key, the customer, payments that name the invoice (p_permanent), the
-- invoice `for update`, its sales by id.

create or replace function public.delete_invoice_safe(
  p_invoice_id uuid,
  p_permanent boolean default false,
  out success boolean,
  out invoice_id uuid,
  out invoice_number text,
  out permanent boolean,
  out reverted_sales_count integer,
  out line_items_count integer
)
returns record
language plpgsql
volatile
security definer -- deletions, sales and the audit trail are written by the database alone
set search_path = pg_catalog, pg_temp
as $$
declare
  v_key text := private.idempotency_key();
  v_outer_call text := coalesce(current_setting('pymilk.call_id', true), ''); -- in its trigger
  v_permanent boolean := coalesce(p_permanent, false);
  v_arguments jsonb;
  v_request record;
begin
  if p_invoice_id is null then
    raise exception using
      errcode = 'PT400',
      message = 'invoice_required',
      detail = jsonb_build_object('p_invoice_id', null)::text,
      hint = 'Name the invoice to delete.';
  end if;

  v_arguments := jsonb_build_object('invoice_id', p_invoice_id, 'permanent', v_permanent);

  -- lock
  select claimed.call_id, claimed.answer into v_request
  from private.claim_request('delete_invoice_safe', v_key, v_arguments) as claimed;

  if v_request.answer is not null then
    select first_answer.*
    into success, invoice_id, invoice_number, permanent, reverted_sales_count, line_items_count
    from jsonb_to_record(v_request.answer) as first_answer (
      success boolean,
      invoice_id uuid,
      invoice_number text,
      permanent boolean,
      reverted_sales_count integer,
      line_items_count integer
    );
    return;
  end if;

  -- check and write
  select invoice.invoice_number into invoice_number
  from public.invoice_metadata as invoice
  where invoice.id = p_invoice_id;

  perform set_config('pymilk.call_id', v_request.call_id::text, true);

  select deleted.reverted_sales_count, deleted.line_items_count
  into reverted_sales_count, line_items_count
  from private.delete_invoices(array[p_invoice_id], v_permanent) as deleted;

  perform set_config('pymilk.call_id', v_outer_call, true);

  -- return
  success := true;
  invoice_id := p_invoice_id;
  permanent := v_permanent;

  perform private.finish_request(
    'delete_invoice_safe', v_key, v_arguments, v_request.call_id,
    jsonb_build_object(
      'success', success,
      'invoice_id', invoice_id,
      'invoice_number', invoice_number,
      'permanent', permanent,
      'reverted_sales_count', reverted_sales_count,
      'line_items_count', line_items_count
    )
  );
end;
$$;

comment on function public.delete_invoice_safe(uuid, boolean) is
'Deletes an invoice and sets free what it billed. Refused while money is allocated to it.

p_permanent: true deletes it for good; else it can be recovered
never null: all but invoice_number';

revoke all on function public.delete_invoice_safe(uuid, boolean)
from public, anon, authenticated, service_role;
grant execute on function public.delete_invoice_safe(uuid, boolean)
to authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/delete_invoices.sql sha256:6cf0f48b748baa10fd640fb5b590a09085cf49f5b48be842080d7b925dfd4d6e
-- Deletes invoices, all or none: the core under the RPCs, without keys.
--
-- For later recovery (p_permanent false) an invoice is cancelled and says when, by whom and what
-- it was before; its lines stay and bill nothing. For good, lines and invoice go; the audit trail
-- keeps both, and payments that named it as their primary invoice name none. An invoice that was
-- deleted can still be deleted for good.
--
-- Sales and deliveries that it billed are set free by the triggers; nobody else's are touched.
--
-- Refusals: PT404 invoice_not_found, PT409 invoice_deleted, invoice_holds_money.
-- Locks: customers by id, payments by id (for good only), invoices by id `for update` (no upgrade
-- later, and nobody adds lines or money meanwhile), sales by id.

create or replace function private.delete_invoices(
  p_invoice_ids uuid[],
  p_permanent boolean,
  out reverted_sales_count integer,
  out line_items_count integer
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew takes longer than its work
as $$
declare
  v_fault record;
  v_sale_ids uuid[];
begin
  -- lock
  perform
  from public.customers as customer
  where customer.id in (
    select invoice.customer_id
    from public.invoice_metadata as invoice
    where invoice.id = any(p_invoice_ids)
  )
  order by customer.id
  for no key update;

  if p_permanent then
    perform
    from public.payments as payment
    where payment.primary_invoice_id = any(p_invoice_ids)
    order by payment.id
    for no key update;
  end if;

  perform
  from public.invoice_metadata as invoice
  where invoice.id = any(p_invoice_ids)
  order by invoice.id
  for update;

  -- check
  select
    named.invoice_id,
    invoice.id is null as unknown,
    invoice.deleted_at is not null and not p_permanent as deleted,
    invoice.deleted_at,
    invoice.amount_paid
  into v_fault
  from unnest(p_invoice_ids) with ordinality as named (invoice_id, position)
  left join public.invoice_metadata as invoice on named.invoice_id = invoice.id
  where invoice.id is null
    or (invoice.deleted_at is not null and not p_permanent)
    or exists (
      select
      from public.invoice_payments as allocation
      where allocation.invoice_id = invoice.id
    )
  order by named.position
  limit 1;

  if found and v_fault.unknown then
    raise exception using
      errcode = 'PT404',
      message = 'invoice_not_found',
      detail = jsonb_build_object('invoice_id', v_fault.invoice_id)::text,
      hint = 'The invoice does not exist or was deleted; reload the customer''s invoices.';
  elsif found and v_fault.deleted then
    raise exception using
      errcode = 'PT409',
      message = 'invoice_deleted',
      detail = jsonb_build_object(
        'invoice_id', v_fault.invoice_id, 'deleted_at', v_fault.deleted_at
      )::text,
      hint = 'The invoice is deleted already; recover it, or delete it for good.';
  elsif found then
    raise exception using
      errcode = 'PT409',
      message = 'invoice_holds_money',
      detail = jsonb_build_object(
        'invoice_id', v_fault.invoice_id, 'amount_paid', v_fault.amount_paid
      )::text,
      hint = 'Take the payments off the invoice first, then delete it.';
  end if;

  select count(*), array_agg(line.sale_id) filter (where line.bills and line.sale_id is not null)
  into line_items_count, v_sale_ids
  from public.invoice_line_items as line
  where line.invoice_id = any(p_invoice_ids);

  -- write
  if p_permanent then
    update public.payments as payment
    set primary_invoice_id = null, updated_at = now()
    where payment.primary_invoice_id = any(p_invoice_ids);

    delete from public.invoice_line_items as line
    where line.invoice_id = any(p_invoice_ids);

    delete from public.invoice_metadata as invoice
    where invoice.id = any(p_invoice_ids);
  else
    update public.invoice_metadata as invoice
    set
      invoice_status = 'cancelled',
      deleted_at = now(),
      deleted_by = private.caller(),
      status_before_deletion = coalesce(invoice.invoice_status, 'draft'),
      updated_at = now()
    where invoice.id = any(p_invoice_ids);
  end if;

  -- return
  select count(*) into reverted_sales_count
  from public.sales as sale
  where sale.id = any(v_sale_ids) and sale.payment_status = 'Pending';
end;
$$;

comment on function private.delete_invoices(uuid[], boolean) is
'Deletes invoices, all or none, and sets free what they billed: the core under the RPCs.';

revoke all on function private.delete_invoices(uuid[], boolean)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/derive_invoice.sql sha256:10c60ee86660b8fbe71f2f7a2b802a1ebaa859262973c2a7ced28f579674f523
-- Puts what follows from the allocations into an invoice that somebody inserts or updates: whatever
-- the caller says of it is neither an error nor believed.
--
-- draft and cancelled are the caller's intent, and so is sending a draft. paid, partially_paid and
-- overdue follow from totals and dates: said of a draft or of a cancelled invoice, they change
-- nothing. The counter only moves inside the triggers of invoice_payments, in an update that names
-- counters and the status alone; that one does without this (outside_our_triggers). Where somebody
-- else says a status there, refuse_overpayment looks at it.
--
-- Inserted as sent it is that until it is looked at, however long it is due: what an upsert puts into
-- a draft is what this made of the row to insert, and overdue would not issue it.
--
-- Locks: none but the row's own.

create or replace function private.derive_invoice()
returns trigger
language plpgsql
security definer -- business_today() must answer for callers who may not execute it
set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'INSERT' then
    new.amount_paid := 0;
    new.last_payment_date := null;
    new.invoice_status := coalesce(new.invoice_status, 'draft');
  else
    new.amount_paid := old.amount_paid;
    new.last_payment_date := old.last_payment_date;
    new.invoice_status := case
      when new.invoice_status is null then old.invoice_status
      when
        old.invoice_status in ('draft', 'cancelled')
        and new.invoice_status in ('paid', 'partially_paid', 'overdue')
        then old.invoice_status
      else new.invoice_status
    end;
  end if;

  new.amount_outstanding := new.total_amount - new.amount_paid;

  if new.invoice_status not in ('draft', 'cancelled') then
    new.invoice_status := case
      when new.amount_outstanding <= 0 then 'paid'
      when new.amount_paid > 0 then 'partially_paid'
      when tg_op = 'INSERT' and new.invoice_status = 'sent' then 'sent'
      -- brought back as it was: the next look at it ages it
      when
        current_setting('pymilk.call_id', true) <> '' and old.status_before_deletion = 'sent'
        then 'sent'
      when new.due_date < public.business_today() then 'overdue'
      else 'sent'
    end;
  end if;

  return new;
end;
$$;

comment on function private.derive_invoice() is
'Trigger: puts the true amount_paid, amount_outstanding, last_payment_date and invoice_status.';

revoke all on function private.derive_invoice() from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/free_billed.sql sha256:9baa45106f9c93d55b09b912c9d3f0654b7d8afa71e94dbe1d7b8066db0971e8
-- Sales and deliveries that lines just stopped billing: the mapping says until when, and the sales
-- are Pending again unless they were paid by themselves.
--
-- Rows from before gap 006 may hold a sale or delivery on several live invoices, of which one bills
-- it. When that one goes, the oldest of the others takes its place: otherwise what a customer is
-- charged with already would be billed once more.
--
-- p_invoice_ids, p_sale_ids, p_delivery_ids: one element a line; sale or delivery may be null.
-- Locks: the invoices of such others by id, then the sales by id, `for no key update`; the lines
-- are held already.

create or replace function private.free_billed(
  p_invoice_ids uuid[],
  p_sale_ids uuid[],
  p_delivery_ids uuid[]
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew takes longer than its work
as $$
declare
  v_invoice_ids uuid[];
  v_sale_ids uuid[];
begin
  -- lock
  perform
  from public.invoice_metadata as invoice
  where invoice.invoice_status is distinct from 'cancelled'
    and invoice.id in (
      select line.invoice_id
      from public.invoice_line_items as line
      where not line.bills
        and (line.sale_id = any(p_sale_ids) or line.delivery_id = any(p_delivery_ids))
    )
  order by invoice.id
  for no key update;

  perform
  from public.sales as sale
  where sale.id = any(p_sale_ids)
  order by sale.id
  for no key update;

  -- write
  update public.invoice_sales_mapping as mapping
  set released_at = now()
  from unnest(p_invoice_ids, p_sale_ids) as freed (invoice_id, sale_id)
  where mapping.invoice_id = freed.invoice_id
    and mapping.sale_id = freed.sale_id
    and mapping.released_at is null;

  with idle as (
    select line.id, line.sale_id, line.delivery_id, line.created_at, invoice.created_at as issued_at
    from public.invoice_line_items as line
    inner join public.invoice_metadata as invoice on line.invoice_id = invoice.id
    where not line.bills
      and (line.sale_id = any(p_sale_ids) or line.delivery_id = any(p_delivery_ids))
      and invoice.invoice_status is distinct from 'cancelled'
      and not exists (
        select
        from public.invoice_line_items as billing
        where billing.bills and billing.sale_id = line.sale_id
      )
      and not exists (
        select
        from public.invoice_line_items as billing
        where billing.bills and billing.delivery_id = line.delivery_id
      )
  ),

  heir as (
    select distinct on (idle.sale_id, idle.delivery_id) idle.id
    from idle
    order by idle.sale_id, idle.delivery_id, idle.issued_at, idle.created_at, idle.id
  ),

  promoted as (
    update public.invoice_line_items as line
    set bills = true
    from heir
    where line.id = heir.id
    returning line.invoice_id, line.sale_id
  )

  select array_agg(promoted.invoice_id), array_agg(promoted.sale_id)
  into v_invoice_ids, v_sale_ids
  from promoted
  where promoted.sale_id is not null;

  if v_sale_ids is not null then
    perform private.take_sales(v_invoice_ids, v_sale_ids);
  end if;

  perform private.derive_sales(p_sale_ids);
end;
$$;

comment on function private.free_billed(uuid[], uuid[], uuid[]) is
'Sets sales and deliveries free that lines just stopped billing.';

revoke all on function private.free_billed(uuid[], uuid[], uuid[])
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/keep_billed_delivery.sql sha256:90d86850c0a11b6ee095baff02e60cb9e72fd9f5d2812cbcccfc207473660112
-- Refuses (23514) to take a delivery that a live invoice bills away from its customer, to price it
-- anew or to say that it was not delivered; the trigger's WHEN clause says when one of them changes.
--
-- A delivered delivery may be on its way onto an invoice: a call that bills or recovers holds the
-- customer, reads, and writes its lines. So the change queues on the customer before it looks. What is
-- only now confirmed is on nobody's way, and the morning's round locks no customer.
--
-- An older snapshot than read committed's would not show who billed it meanwhile; such a transaction
-- is refused (0A000), as it is where invoices are written (refuse_overlap).
--
-- Locks: the customer, `for no key update`; the delivery is held by the update itself.

create or replace function private.keep_billed_delivery()
returns trigger
language plpgsql
security definer -- an invoker whom row security filters would see no invoice, silently
set search_path = pg_catalog, pg_temp
as $$
declare
  v_invoice_id uuid;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception using
      errcode = 'feature_not_supported',
      message = 'delivered deliveries are changed in read committed transactions alone',
      detail = jsonb_build_object(
        'transaction_isolation', current_setting('transaction_isolation')
      )::text,
      hint = 'An older snapshot cannot show the invoice that bills the delivery by now.';
  end if;

  -- lock
  if old.delivery_status = 'delivered' then
    perform
    from public.customers as customer
    where customer.id = old.customer_id
    for no key update;
  end if;

  -- check
  select line.invoice_id into v_invoice_id
  from public.invoice_line_items as line
  where line.delivery_id = old.id and line.bills;

  if found then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'deliveries',
      constraint = 'deliveries_billed_fixed',
      column = 'total_amount',
      message = 'a billed delivery stays delivered and keeps its customer and its total',
      detail = jsonb_build_object('id', old.id, 'invoice_id', v_invoice_id)::text,
      hint = 'Delete or cancel its invoice first.';
  end if;

  return new;
end;
$$;

comment on function private.keep_billed_delivery() is
'Trigger: a delivery that a live invoice bills stays delivered and keeps customer and total.';

revoke all on function private.keep_billed_delivery()
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/keep_billing_customer.sql sha256:744c99278d9ee89f53a6907dcddc7f53490bd30ef851fa5d95d3bd34720018d8
-- Refuses (23514) to change the customer of an invoice that bills sales or deliveries, which are that
-- customer's; the trigger's WHEN clause says when it changes.
--
-- Locks: none; the invoice is held by the update itself, and whoever adds lines takes it first.

create or replace function private.keep_billing_customer()
returns trigger
language plpgsql
security definer -- an invoker whom row security filters would see no lines, silently
set search_path = pg_catalog, pg_temp
as $$
begin
  -- check
  if exists (
    select
    from public.invoice_line_items as line
    where line.invoice_id = old.id
      and line.bills
      and (line.sale_id is not null or line.delivery_id is not null)
  ) then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'invoice_metadata',
      constraint = 'invoice_metadata_billing_customer_fixed',
      column = 'customer_id',
      message = 'an invoice that bills sales or deliveries keeps its customer',
      detail = jsonb_build_object('id', old.id, 'customer_id', new.customer_id)::text,
      hint = 'Delete the invoice and make one for the other customer.';
  end if;

  return new;
end;
$$;

comment on function private.keep_billing_customer() is
'Trigger: an invoice that bills sales or deliveries keeps its customer.';

revoke all on function private.keep_billing_customer()
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/keep_bills.sql sha256:8cf842353873ccdbdaf43d5cf3f58901db775f146d640068c24064e2dd6fe1f8
-- What somebody says of `bills` is neither an error nor believed: it follows from the line's
-- invoice (bill_listed_sales, bill_with_invoice).
--
-- Locks: none but the row's own.

create or replace function private.keep_bills()
returns trigger
language plpgsql
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  new.bills := case when tg_op = 'UPDATE' then old.bills else true end;

  return new;
end;
$$;

comment on function private.keep_bills() is
'Trigger: puts back what a caller says of invoice_line_items.bills.';

revoke all on function private.keep_bills() from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/keep_deletion.sql sha256:ef95fc8e4d283a083fa9f184cbe44fad7d8543a6f1dbf42bf62bdbd76260d181
-- Whether, when and by whom an invoice was deleted is written by delete_invoice_safe and
-- recover_invoice alone; what anybody else says of it is neither an error nor believed.
--
-- A row that says it was made earlier than now comes from a `--data-only` restore and keeps it; the
-- roles of the API restore nothing.
--
-- Locks: none but the row's own.

create or replace function private.keep_deletion()
returns trigger
language plpgsql
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'UPDATE' then
    new.deleted_at := old.deleted_at;
    new.deleted_by := old.deleted_by;
    new.status_before_deletion := old.status_before_deletion;
  elsif
    new.created_at is not distinct from now()
    or current_setting('role', true) in ('anon', 'authenticated', 'service_role')
  then
    new.deleted_at := null;
    new.deleted_by := null;
    new.status_before_deletion := null;
  end if;

  return new;
end;
$$;

comment on function private.keep_deletion() is
'Trigger: puts back what a caller says of the deletion of an invoice.';

revoke all on function private.keep_deletion() from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/keep_issued_total.sql sha256:47151824bf58ba7988718a3a45ca5e41c32ecb8a8ae4d5f2dea7c907546e2f4a
-- Refuses (23514) a total that the lines of an issued invoice don't add up to, where a direct write
-- changes the total or issues the invoice.
-- An invoice that never had a line may say any total: the app may have written a sum alone. One that
-- lost its lines (the audit trail tells) may not: what they billed is free to be billed again.
-- A deleted invoice keeps its total, and stays cancelled until it is recovered, whoever writes it.
-- Locks: none; the invoice is held by the update itself, and whoever changes its lines takes it.

create or replace function private.keep_issued_total()
returns trigger
language plpgsql
security definer -- an invoker whom row security filters would see no lines, silently
set search_path = pg_catalog, pg_temp
as $$
declare
  v_number bigint;
  v_total numeric;
begin
  -- check
  if new.deleted_at is not null and new.invoice_status is distinct from 'cancelled' then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'invoice_metadata',
      constraint = 'invoice_metadata_deleted_is_cancelled',
      column = 'invoice_status',
      message = 'a deleted invoice stays cancelled until it is recovered',
      detail = jsonb_build_object('id', new.id, 'invoice_status', new.invoice_status)::text,
      hint = 'Recover the invoice with recover_invoice.';
  elsif current_setting('pymilk.call_id', true) <> '' then
    return new;
  elsif
    new.total_amount = old.total_amount
    and (
      coalesce(old.invoice_status, 'draft') not in ('draft', 'cancelled')
      or new.invoice_status in ('draft', 'cancelled')
    )
  then
    return new;
  end if;

  if old.deleted_at is not null and new.total_amount is distinct from old.total_amount then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'invoice_metadata',
      constraint = 'invoice_metadata_deleted_total_fixed',
      column = 'total_amount',
      message = 'a deleted invoice keeps its total',
      detail = jsonb_build_object('id', old.id, 'total_amount', new.total_amount)::text,
      hint = 'Recover the invoice first.';
  elsif coalesce(new.invoice_status, 'draft') in ('draft', 'cancelled') then
    return new;
  end if;

  select count(*), coalesce(sum(line.line_total), 0) into v_number, v_total
  from public.invoice_line_items as line
  where line.invoice_id = old.id;

  if
    new.total_amount <> v_total
    and (
      v_number > 0
      or exists (
        select
        from public.audit_trail as entry
        where entry.entity_id = old.id and entry.action = 'lines_removed'
      )
    )
  then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'invoice_metadata',
      constraint = 'invoice_metadata_issued_whole',
      column = 'total_amount',
      message = 'the lines of an issued invoice add up to its total',
      detail = jsonb_build_object(
        'id', old.id, 'total_amount', new.total_amount, 'lines', v_total
      )::text,
      hint = 'Change the lines while the invoice is a draft, then issue it with their sum.';
  end if;

  return new;
end;
$$;

comment on function private.keep_issued_total() is
'Trigger: the total of an issued invoice is what its lines add up to; a deleted one is cancelled.';

revoke all on function private.keep_issued_total() from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/keep_line_totals.sql sha256:2c3d7a3898bc4e097cb0d45e0269853231be38b83d77163390b4952dbc329a03
-- Lines that were just written, or that bill again, cost what they bill costs (23514 otherwise): a
-- sale of 40 on a line of 1 would be paid with 1, and a stale price with the old one.
--
-- A line that bills both, a delivery and a sale, costs both. One that names no amount says nothing else.
--
-- Locks: none; the caller holds the deliveries and sales.

create or replace function private.keep_line_totals(p_line_ids uuid[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_offence record;
begin
  -- check
  select
    line.id,
    line.invoice_id,
    line.line_total,
    coalesce(
      delivery.total_amount + sale.total_amount, delivery.total_amount, sale.total_amount
    ) as billed
  into v_offence
  from public.invoice_line_items as line
  left join public.deliveries as delivery on line.delivery_id = delivery.id
  left join public.sales as sale on line.sale_id = sale.id
  where line.id = any(p_line_ids)
    and line.bills
    and line.line_total <> coalesce(
      delivery.total_amount + sale.total_amount, delivery.total_amount, sale.total_amount
    )
  order by line.id
  limit 1;

  if found then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'invoice_line_items',
      constraint = 'invoice_line_items_total_as_billed',
      column = 'line_total',
      message = 'a line costs what the delivery or sale that it bills costs',
      detail = jsonb_build_object(
        'id', v_offence.id,
        'invoice_id', v_offence.invoice_id,
        'line_total', v_offence.line_total,
        'total_amount', v_offence.billed
      )::text,
      hint = 'Reload the delivery or sale and bill its total; what differs goes on a line of its own.';
  end if;
end;
$$;

comment on function private.keep_line_totals(uuid[]) is
'Refuses lines that cost anything else than the delivery or sale that they bill.';

revoke all on function private.keep_line_totals(uuid[])
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/keep_lines_whole.sql sha256:237a2b9e6962fa61aef7d4c478eb6425654d10f9d76ad2d103b10915e9f5e6a4
-- After lines were changed or removed, or added to an invoice that was whole, directly: what issued
-- invoices bill must add up to their totals (23514 otherwise). A line that went alone would set its
-- sale free, to be billed once more, while the customer still owes it; one that came alone would have
-- its sale paid with money that was paid for others.
--
-- When the last line of an issued invoice that nobody has paid is removed, the invoice is a draft
-- again: that is the first half of the app's deletion, and until the second nobody owes what no line
-- explains. Of a deleted invoice nothing may go at all: it comes back as it was, or not.
--
-- A draft may be taken apart and put together again (keep_issued_total looks when it is issued), but
-- for what money was paid for: set free, it would be paid twice. A cancelled invoice bills nothing.
--
-- Each invoice gets another version: a session which cannot see what became of its lines, its snapshot
-- being older, cannot issue it (40001).
--
-- Locks: the invoices by id, `for no key update`: two who change lines or total come one after the
-- other.

create or replace function private.keep_lines_whole(p_invoice_ids uuid[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_offence record;
begin
  -- lock
  perform
  from public.invoice_metadata as invoice
  where invoice.id = any(p_invoice_ids)
  order by invoice.id
  for no key update;

  -- check
  select
    invoice.id,
    case
      when invoice.deleted_at is not null then 'invoice_line_items_deleted_fixed'
      when invoice.invoice_status = 'draft' then 'invoice_line_items_paid_fixed'
      else 'invoice_line_items_issued_whole'
    end as rule,
    invoice.total_amount,
    invoice.amount_paid,
    line.total
  into v_offence
  from public.invoice_metadata as invoice
  cross join lateral (
    select count(*) as number, coalesce(sum(item.line_total), 0) as total
    from public.invoice_line_items as item
    where item.invoice_id = invoice.id
  ) as line
  where invoice.id = any(p_invoice_ids)
    and (
      invoice.deleted_at is not null
      or (
        coalesce(invoice.invoice_status, 'draft') not in ('draft', 'cancelled')
        and invoice.total_amount <> line.total
        and (line.number > 0 or invoice.amount_paid <> 0)
      )
      or (invoice.invoice_status = 'draft' and invoice.amount_paid > greatest(line.total, 0))
    )
  order by invoice.id
  limit 1;

  if found then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'invoice_line_items',
      constraint = v_offence.rule,
      column = 'line_total',
      message = case v_offence.rule
        when 'invoice_line_items_deleted_fixed'
          then 'the lines of a deleted invoice stay as they are'
        when 'invoice_line_items_paid_fixed'
          then 'the lines of a draft cover the money that was paid for them'
        else 'the lines of an issued invoice add up to its total'
      end,
      detail = jsonb_build_object(
        'invoice_id', v_offence.id,
        'total_amount', v_offence.total_amount,
        'amount_paid', v_offence.amount_paid,
        'lines', v_offence.total
      )::text,
      hint = case v_offence.rule
        when 'invoice_line_items_deleted_fixed'
          then 'Recover the invoice first, or delete it for good.'
        when 'invoice_line_items_paid_fixed' then 'Take the payments off the invoice first.'
        else 'Delete or cancel the invoice, or make it a draft, change it, and issue it again.'
      end;
  end if;

  -- write
  update public.invoice_metadata as invoice
  set updated_at = invoice.updated_at
  where invoice.id = any(p_invoice_ids);

  update public.invoice_metadata as invoice
  set invoice_status = 'draft'
  where invoice.id = any(p_invoice_ids)
    and coalesce(invoice.invoice_status, 'draft') not in ('draft', 'cancelled')
    and invoice.total_amount <> 0
    and not exists (
      select
      from public.invoice_line_items as item
      where item.invoice_id = invoice.id
    );
end;
$$;

comment on function private.keep_lines_whole(uuid[]) is
'Refuses changes after which the lines of issued invoices would not add up to their totals.';

revoke all on function private.keep_lines_whole(uuid[])
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/recover_invoice.sql sha256:4d298414a0064d7ff05537e4add64d6254041fe0b7dd162303c21c0022ccab31
-- Brings an invoice back that delete_invoice_safe deleted: it is what it was before, and its lines
-- bill their sales and deliveries again.
--
-- With an idempotency key the same call gets its first answer again (see claim_request).
--
-- Refusals, raised so that nothing stays written:
--   PT400 invoice_required, idempotency_key_invalid
--   PT404 invoice_not_found
--   PT409 invoice_not_deleted, period_taken (another live invoice of the customer overlaps),
--         sale_taken (billed elsewhere, paid by itself, or another customer's by now),
--         delivery_taken (billed elsewhere), billed_changed (a delivery was cancelled or moved to
--         another customer, or what is billed has another price by now), idempotency_key_reused,
--         request_undone
--
-- Locks: the idempotency key, the customer, the invoice `for update`, its sales by id.

create or replace function public.recover_invoice(
  p_invoice_id uuid,
  out success boolean,
  out invoice_id uuid,
  out invoice_number text,
  out invoice_status text,
  out billed_sales_count integer,
  out line_items_count integer
)
returns record
language plpgsql
volatile
security definer -- deletions, sales and the audit trail are written by the database alone
set search_path = pg_catalog, pg_temp
as $$
declare
  v_key text := private.idempotency_key();
  v_outer_call text := coalesce(current_setting('pymilk.call_id', true), ''); -- in its trigger
  v_arguments jsonb;
  v_request record;
begin
  if p_invoice_id is null then
    raise exception using
      errcode = 'PT400',
      message = 'invoice_required',
      detail = jsonb_build_object('p_invoice_id', null)::text,
      hint = 'Name the invoice to recover.';
  end if;

  v_arguments := jsonb_build_object('invoice_id', p_invoice_id);

  -- lock
  select claimed.call_id, claimed.answer into v_request
  from private.claim_request('recover_invoice', v_key, v_arguments) as claimed;

  if v_request.answer is not null then
    select first_answer.*
    into
      success, invoice_id, invoice_number, invoice_status, billed_sales_count, line_items_count
    from jsonb_to_record(v_request.answer) as first_answer (
      success boolean,
      invoice_id uuid,
      invoice_number text,
      invoice_status text,
      billed_sales_count integer,
      line_items_count integer
    );
    return;
  end if;

  -- check and write
  perform set_config('pymilk.call_id', v_request.call_id::text, true);
  perform private.revive_invoice(p_invoice_id);
  perform set_config('pymilk.call_id', v_outer_call, true);

  -- return
  success := true;

  select invoice.id, invoice.invoice_number, invoice.invoice_status
  into invoice_id, invoice_number, invoice_status
  from public.invoice_metadata as invoice
  where invoice.id = p_invoice_id;

  select count(line.sale_id) filter (where line.bills), count(*)
  into billed_sales_count, line_items_count
  from public.invoice_line_items as line
  where line.invoice_id = p_invoice_id;

  perform private.finish_request(
    'recover_invoice', v_key, v_arguments, v_request.call_id,
    jsonb_build_object(
      'success', success,
      'invoice_id', invoice_id,
      'invoice_number', invoice_number,
      'invoice_status', invoice_status,
      'billed_sales_count', billed_sales_count,
      'line_items_count', line_items_count
    )
  );
end;
$$;

comment on function public.recover_invoice(uuid) is
'Brings back an invoice that delete_invoice_safe deleted. Refused when its period, a sale or a
delivery of it has been taken or changed since.

invoice_status invoice_metadata.invoice_status
never null: all but invoice_number';

revoke all on function public.recover_invoice(uuid)
from public, anon, authenticated, service_role;
grant execute on function public.recover_invoice(uuid) to authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/replace_mapping.sql sha256:0f20fa59a6676c9ba29c7037b2e6e6d04930688383909c5e287a8080444898e3
-- A row of invoice_sales_mapping that is inserted by itself comes from a `--data-only` restore: it
-- takes the place of the one that restoring its line made.
--
-- Locks: the row that goes.

create or replace function private.replace_mapping()
returns trigger
language plpgsql
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from public.invoice_sales_mapping as mapping
  where mapping.invoice_id = new.invoice_id and mapping.sale_id = new.sale_id;

  return new;
end;
$$;

comment on function private.replace_mapping() is
'Trigger: a restored row of the mapping takes the place of what restoring its line made.';

revoke all on function private.replace_mapping() from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/revive_invoice.sql sha256:cec191de53f9c4d5e4ad55c0aa87f31349e33bfdd91cdb0de7ac6abbc7b5b9fa
-- Brings a deleted invoice back: the core under recover_invoice, without keys.
--
-- An invoice that was cancelled before it was deleted is cancelled again and takes nothing.
--
-- Refusals: PT404 invoice_not_found, PT409 invoice_not_deleted, period_taken, sale_taken,
-- delivery_taken, billed_changed.
-- Locks: the customer, the invoice `for update` (no upgrade later), its sales by id. The lines take
-- their sales and deliveries by a unique index before the sales are locked: as in an insert of
-- lines, so that the two queue.

create or replace function private.revive_invoice(p_invoice_id uuid)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_invoice record;
  v_taken record;
  v_changed record;
begin
  -- lock
  perform
  from public.customers as customer
  where customer.id = (
    select invoice.customer_id
    from public.invoice_metadata as invoice
    where invoice.id = p_invoice_id
  )
  for no key update;

  select
    invoice.customer_id,
    invoice.period_start,
    invoice.period_end,
    invoice.invoice_status,
    invoice.deleted_at,
    invoice.status_before_deletion
  into v_invoice
  from public.invoice_metadata as invoice
  where invoice.id = p_invoice_id
  for update;

  -- check
  if not found then
    raise exception using
      errcode = 'PT404',
      message = 'invoice_not_found',
      detail = jsonb_build_object('invoice_id', p_invoice_id)::text,
      hint = 'The invoice does not exist or was deleted for good; the audit trail has a copy.';
  elsif v_invoice.deleted_at is null then
    raise exception using
      errcode = 'PT409',
      message = 'invoice_not_deleted',
      detail = jsonb_build_object(
        'invoice_id', p_invoice_id, 'invoice_status', v_invoice.invoice_status
      )::text,
      hint = 'Nothing is to be recovered; reload the customer''s invoices.';
  end if;

  if v_invoice.status_before_deletion is distinct from 'cancelled' then
    select other.id, other.period_start, other.period_end into v_taken
    from public.invoice_metadata as other
    where other.customer_id = v_invoice.customer_id
      and other.id <> p_invoice_id
      and other.invoice_status is distinct from 'cancelled'
      and other.period_start <= v_invoice.period_end
      and other.period_end >= v_invoice.period_start
    order by other.period_start, other.id
    limit 1;

    if found then
      raise exception using
        errcode = 'PT409',
        message = 'period_taken',
        detail = jsonb_build_object(
          'invoice_id', p_invoice_id,
          'taken_by', v_taken.id,
          'period_start', v_taken.period_start,
          'period_end', v_taken.period_end
        )::text,
        hint = 'The customer has another invoice for these days by now; delete that one first.';
    end if;

    select line.sale_id, billing.invoice_id into v_taken
    from public.invoice_line_items as line
    inner join public.sales as sale on line.sale_id = sale.id
    left join public.invoice_line_items as billing
      on line.sale_id = billing.sale_id and billing.bills
    where line.invoice_id = p_invoice_id
      and (
        billing.id is not null
        or sale.sale_type <> 'Credit'
        or sale.customer_id <> v_invoice.customer_id
        or sale.amount_paid > 0
        or sale.payment_status = 'Completed' -- at the counter: deleted, the invoice set it free
      )
    order by line.sale_id
    limit 1;

    if found then
      raise exception using
        errcode = 'PT409',
        message = 'sale_taken',
        detail = jsonb_build_object(
          'invoice_id', p_invoice_id, 'sale_id', v_taken.sale_id, 'taken_by', v_taken.invoice_id
        )::text,
        hint = 'A sale of the invoice was billed elsewhere or paid since; make a new invoice.';
    end if;

    select line.delivery_id, billing.invoice_id into v_taken
    from public.invoice_line_items as line
    inner join public.invoice_line_items as billing
      on line.delivery_id = billing.delivery_id and billing.bills
    where line.invoice_id = p_invoice_id
    order by line.delivery_id
    limit 1;

    if found then
      raise exception using
        errcode = 'PT409',
        message = 'delivery_taken',
        detail = jsonb_build_object(
          'invoice_id', p_invoice_id,
          'delivery_id', v_taken.delivery_id,
          'taken_by', v_taken.invoice_id
        )::text,
        hint = 'A delivery of the invoice was billed elsewhere since; make a new invoice.';
    end if;
  end if;

  -- write: which issued status it is, derive_invoice says
  update public.invoice_metadata as invoice
  set
    invoice_status = case
      when v_invoice.status_before_deletion in ('draft', 'cancelled')
        then v_invoice.status_before_deletion
      else 'sent'
    end,
    deleted_at = null,
    deleted_by = null,
    status_before_deletion = null,
    updated_at = now()
  where invoice.id = p_invoice_id;

  -- check what it bills now that nobody else can change it: the sales are locked with their lines,
  -- the deliveries by the customer (keep_billed_delivery)
  select
    line.delivery_id,
    line.sale_id,
    line.line_total,
    delivery.customer_id,
    delivery.delivery_status,
    coalesce(
      delivery.total_amount + sale.total_amount, delivery.total_amount, sale.total_amount
    ) as total_amount
  into v_changed
  from public.invoice_line_items as line
  left join public.deliveries as delivery on line.delivery_id = delivery.id
  left join public.sales as sale on line.sale_id = sale.id
  where line.invoice_id = p_invoice_id
    and line.bills
    and (
      delivery.customer_id <> v_invoice.customer_id
      or (delivery.id is not null and delivery.delivery_status is distinct from 'delivered')
      or line.line_total <> coalesce(
        delivery.total_amount + sale.total_amount, delivery.total_amount, sale.total_amount
      )
    )
  order by line.delivery_id, line.sale_id
  limit 1;

  if found then
    raise exception using
      errcode = 'PT409',
      message = 'billed_changed',
      detail = jsonb_strip_nulls(jsonb_build_object(
        'invoice_id', p_invoice_id,
        'delivery_id', v_changed.delivery_id,
        'sale_id', v_changed.sale_id,
        'customer_id', v_changed.customer_id,
        'delivery_status', v_changed.delivery_status,
        'line_total', v_changed.line_total,
        'total_amount', v_changed.total_amount
      ))::text,
      hint = 'What the invoice bills is not what it was; make a new invoice.';
  end if;
end;
$$;

comment on function private.revive_invoice(uuid) is
'Brings a deleted invoice back: the core under recover_invoice.';

revoke all on function private.revive_invoice(uuid) from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/take_deliveries.sql sha256:91b278dee011eb7809c7e23086d1a641a0ab77ea0d20e4d8a1a96463b9ce4518
-- Deliveries that lines of live invoices just took, directly: each must be one that was delivered to
-- the invoice's customer (23514 otherwise).
--
-- That nobody else bills it holds the unique index of the lines. Calls don't come here: they read the
-- deliveries under the lock of their customer, which whoever changes a delivery takes as well
-- (keep_billed_delivery), so that 300,000 lines of a month needn't lock what they bill.
--
-- p_invoice_ids, p_delivery_ids: pairs.
-- Locks: the deliveries by id, `for no key update`; the caller holds the invoices.

create or replace function private.take_deliveries(p_invoice_ids uuid[], p_delivery_ids uuid[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_offence record;
begin
  -- lock
  perform
  from public.deliveries as delivery
  where delivery.id = any(p_delivery_ids)
  order by delivery.id
  for no key update;

  -- check
  select
    billed.invoice_id,
    billed.delivery_id,
    delivery.customer_id <> invoice.customer_id as strange,
    delivery.delivery_status
  into v_offence
  from unnest(p_invoice_ids, p_delivery_ids) as billed (invoice_id, delivery_id)
  inner join public.invoice_metadata as invoice on billed.invoice_id = invoice.id
  inner join public.deliveries as delivery on billed.delivery_id = delivery.id
  where delivery.customer_id <> invoice.customer_id
    or delivery.delivery_status is distinct from 'delivered'
  limit 1;

  if found and v_offence.strange then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'invoice_line_items',
      constraint = 'invoice_line_items_delivery_of_customer',
      column = 'delivery_id',
      message = 'an invoice bills deliveries to its own customer alone',
      detail = jsonb_build_object(
        'invoice_id', v_offence.invoice_id, 'delivery_id', v_offence.delivery_id
      )::text,
      hint = 'Bill the delivery to the customer who had it.';
  elsif found then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'invoice_line_items',
      constraint = 'invoice_line_items_delivery_delivered',
      column = 'delivery_id',
      message = 'an invoice bills what was delivered',
      detail = jsonb_build_object(
        'invoice_id', v_offence.invoice_id,
        'delivery_id', v_offence.delivery_id,
        'delivery_status', v_offence.delivery_status
      )::text,
      hint = 'Confirm the delivery first, or leave it off the invoice.';
  end if;
end;
$$;

comment on function private.take_deliveries(uuid[], uuid[]) is
'Checks deliveries that lines of live invoices just took: delivered, and to their customer.';

revoke all on function private.take_deliveries(uuid[], uuid[])
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/take_sales.sql sha256:68a3f8090a03960304631a7214644e00869541292a35f3c057e966bfcbe2cec2
-- Sales that lines of live invoices just took: each must be a Credit sale of the invoice's customer
-- that nobody paid by itself (23514 otherwise); it becomes Billed, and the mapping says by whom.
--
-- That nobody else bills it holds the unique index of the lines. Each gets another version, so that a
-- session which cannot see the line, its snapshot being older, cannot pay or price it by itself (40001).
--
-- p_invoice_ids, p_sale_ids: pairs.
-- Locks: the sales by id, `for no key update`; the caller holds the invoices.

create or replace function private.take_sales(p_invoice_ids uuid[], p_sale_ids uuid[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew takes longer than its work
as $$
declare
  v_offence record;
begin
  -- lock
  perform
  from public.sales as sale
  where sale.id = any(p_sale_ids)
  order by sale.id
  for no key update;

  -- check
  select
    billed.invoice_id,
    billed.sale_id,
    sale.sale_type <> 'Credit' or sale.customer_id <> invoice.customer_id as strange
  into v_offence
  from unnest(p_invoice_ids, p_sale_ids) as billed (invoice_id, sale_id)
  inner join public.invoice_metadata as invoice on billed.invoice_id = invoice.id
  inner join public.sales as sale on billed.sale_id = sale.id
  where sale.sale_type <> 'Credit'
    or sale.customer_id <> invoice.customer_id
    or sale.amount_paid > 0
  limit 1;

  if found and v_offence.strange then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'invoice_line_items',
      constraint = 'invoice_line_items_sale_of_customer',
      column = 'sale_id',
      message = 'an invoice bills Credit sales of its own customer alone',
      detail = jsonb_build_object(
        'invoice_id', v_offence.invoice_id, 'sale_id', v_offence.sale_id
      )::text,
      hint = 'Bill the sale to the customer who made it.';
  elsif found then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'invoice_line_items',
      constraint = 'invoice_line_items_sale_unpaid',
      column = 'sale_id',
      message = 'a sale that was paid by itself cannot be billed',
      detail = jsonb_build_object(
        'invoice_id', v_offence.invoice_id, 'sale_id', v_offence.sale_id
      )::text,
      hint = 'Leave the sale off the invoice, or take its payment off first.';
  end if;

  -- write
  insert into public.invoice_sales_mapping as mapping (invoice_id, sale_id)
  select billed.invoice_id, billed.sale_id
  from unnest(p_invoice_ids, p_sale_ids) as billed (invoice_id, sale_id)
  on conflict (invoice_id, sale_id) do update
  set released_at = null
  where mapping.released_at is not null;

  -- what is Pending gets its version from its new status
  update public.sales as sale
  set updated_at = sale.updated_at
  where sale.id = any(p_sale_ids) and sale.payment_status <> 'Pending';

  perform private.derive_sales(p_sale_ids);
end;
$$;

comment on function private.take_sales(uuid[], uuid[]) is
'Checks and bills sales that lines of live invoices just took.';

revoke all on function private.take_sales(uuid[], uuid[])
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/check_payment_invariants.sql sha256:bb948aa3d81cf1890b4d3665f4d952b173cba1cf76cd074f49c873f9c171a110
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
  select * from private.check_unapplied_payments()
  union all
  select * from private.check_settlements()
  union all
  select * from private.check_billing();
end;
$$;

comment on function public.check_payment_invariants() is
'Every broken invariant of the books as a row; none when all is well.';

revoke all on function public.check_payment_invariants()
from public, anon, authenticated, service_role;
grant execute on function public.check_payment_invariants() to authenticated, service_role;
-- <<<

-- >>> sql/functions/rules/refuse_change_deeper.sql sha256:fdd19a32de8eb0b9d9d0ff692df81171ff646f4cb8f191a646584ef999f71397
-- Refuses (0A000) what the owner writes inside of a trigger of the project's own where the rules can't
-- tell it from what the database itself writes there; the trigger's WHEN clause says what.
--
-- Locks: none.

create or replace function private.refuse_change_deeper()
returns trigger
language plpgsql
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception using
    errcode = 'feature_not_supported',
    schema = tg_table_schema,
    table = tg_table_name,
    message = 'lines are not changed inside of a trigger that runs as the owner',
    detail = jsonb_build_object('id', old.id, 'invoice_id', old.invoice_id)::text,
    hint = 'Delete the line and write another, or let the trigger function be security invoker.';
end;
$$;

comment on function private.refuse_change_deeper() is
'Trigger: refuses (0A000) to change lines inside of a trigger that runs as the owner.';

revoke all on function private.refuse_change_deeper()
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/sales/bill_listed_sales.sql sha256:a082bda7ef1226e69a271297ff85825d9d2144b35ff73082ea83ac678040c2bd
-- After any change of invoice_line_items: lines of live invoices bill their sales and deliveries,
-- those of cancelled ones bill nothing, and what a line stopped billing is free again.
--
-- `bills` follows from the line's invoice, whatever the caller says. A unique index holds that
-- nobody else bills the same; everything is done for the statement as a whole, since a month of
-- all customers is one statement. What the database itself writes into lines is settled where it
-- writes: the trigger of updates leaves that out.
--
-- A direct write is asked more (take_deliveries, keep_line_totals, keep_lines_whole,
-- keep_settled_sales); the calls see to it themselves. It also makes another version of the invoice
-- that it adds lines to, so that a session which cannot see the lines, its snapshot being older, cannot
-- pay or cancel that (40001). A line that is given an invoice, a sale or an amount later is asked the
-- same, as it became: what it was called before says nothing, since its id may be another one by now.
-- Lines that say they were made earlier than now, and are not written by a role of the API, come from a
-- restore of the rows alone: what they bill was billed so.
--
-- Locks: the invoices by id, then deliveries and sales by id, `for no key update`.

create or replace function private.bill_listed_sales()
returns trigger
language plpgsql
security definer -- an invoker's update that row security filters would change nothing, silently
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew took half of a call's time
as $$
declare
  v_direct constant boolean := coalesce(current_setting('pymilk.call_id', true), '') = '';
  v_invoice_ids uuid[];
  v_line_ids uuid[];
  v_direct_ids uuid[]; -- lines
  v_restored boolean := false;
  v_whole_ids uuid[]; -- invoices whose lines have to add up
  v_any_idle boolean;
  v_freed_by uuid[];
  v_freed_sale_ids uuid[];
  v_freed_delivery_ids uuid[];
  v_taken_by uuid[];
  v_sale_ids uuid[];
  v_delivering_by uuid[];
  v_delivery_ids uuid[];
begin
  if tg_op = 'INSERT' then
    select
      array_agg(distinct added.invoice_id),
      array_agg(added.id) filter (where not added.bills or added.invoice_id is null),
      array_agg(added.invoice_id) filter (where added.sale_id is not null),
      array_agg(added.sale_id) filter (where added.sale_id is not null),
      array_agg(added.id) filter (where v_direct)
    into v_invoice_ids, v_line_ids, v_taken_by, v_sale_ids, v_direct_ids
    from new_rows as added;

    if v_direct then
      select
        current_setting('role', true) not in ('anon', 'authenticated', 'service_role')
        and bool_and(added.created_at is distinct from now())
      into v_restored
      from new_rows as added;
    end if;
  elsif tg_op = 'DELETE' then
    select array_agg(distinct gone.invoice_id) into v_whole_ids
    from old_rows as gone
    where v_direct;

    select array_agg(gone.invoice_id), array_agg(gone.sale_id), array_agg(gone.delivery_id)
    into v_freed_by, v_freed_sale_ids, v_freed_delivery_ids
    from old_rows as gone
    where gone.bills and (gone.sale_id is not null or gone.delivery_id is not null);
  else
    select array_agg(was.invoice_id), array_agg(was.sale_id), array_agg(was.delivery_id)
    into v_freed_by, v_freed_sale_ids, v_freed_delivery_ids
    from (
      select id, invoice_id, sale_id, delivery_id, bills from old_rows
      except
      select id, invoice_id, sale_id, delivery_id, bills from new_rows
    ) as was
    where was.bills;

    select array_agg(became.id), array_agg(became.invoice_id)
    into v_line_ids, v_invoice_ids
    from (
      select id, invoice_id, sale_id, delivery_id from new_rows
      except
      select id, invoice_id, sale_id, delivery_id from old_rows
    ) as became;

    select array_agg(distinct was.invoice_id) into v_whole_ids
    from (
      select id, invoice_id, sale_id, delivery_id, line_total from old_rows
      except
      select id, invoice_id, sale_id, delivery_id, line_total from new_rows
    ) as was
    where v_direct;

    select array_agg(became.id) into v_direct_ids
    from (
      select id, invoice_id, sale_id, delivery_id, line_total from new_rows
      except
      select id, invoice_id, sale_id, delivery_id, line_total from old_rows
    ) as became
    where v_direct;
  end if;

  -- lock
  if v_invoice_ids is not null then
    select bool_or(locked.invoice_status = 'cancelled') into v_any_idle
    from (
      select invoice.invoice_status
      from public.invoice_metadata as invoice
      where invoice.id = any(v_invoice_ids)
      order by invoice.id
      for no key update
    ) as locked;
  end if;

  -- check and write
  if v_any_idle and tg_op = 'INSERT' then
    select array_agg(added.id) into v_line_ids
    from new_rows as added;
  end if;

  if v_line_ids is not null then
    update public.invoice_line_items as line
    set bills = not line.bills
    from public.invoice_line_items as same
    left join public.invoice_metadata as invoice on same.invoice_id = invoice.id
    where line.id = any(v_line_ids)
      and same.id = line.id
      and line.bills
      <> (invoice.id is not null and invoice.invoice_status is distinct from 'cancelled');
  end if;

  if v_direct_ids is not null then
    select array_agg(line.invoice_id), array_agg(line.delivery_id)
    into v_delivering_by, v_delivery_ids
    from public.invoice_line_items as line
    where line.id = any(v_direct_ids) and line.bills and line.delivery_id is not null;

    if v_delivery_ids is not null then
      perform private.take_deliveries(v_delivering_by, v_delivery_ids);
    end if;
  end if;

  if v_direct_ids is not null then
    update public.invoice_metadata as invoice
    set updated_at = invoice.updated_at
    where invoice.id = any(v_invoice_ids);

    -- An app that writes line after line is in the middle of it until they add up; what is whole
    -- stays so, and what money was paid for grows no further. A deleted one gets nothing: recovered, it
    -- would be issued as it is by then.
    -- The lines of an update that were the invoice's already have it looked at anyway.
    select v_whole_ids || array_agg(invoice.id) into v_whole_ids
    from (
      select item.invoice_id, count(*) as number, coalesce(sum(item.line_total), 0) as total
      from public.invoice_line_items as item
      where item.id = any(v_direct_ids)
      group by item.invoice_id
    ) as added
    inner join public.invoice_metadata as invoice on added.invoice_id = invoice.id
    cross join lateral (
      select count(*) as number, coalesce(sum(item.line_total), 0) as total
      from public.invoice_line_items as item
      where item.invoice_id = invoice.id
    ) as line
    where (line.number > added.number and line.total - added.total = invoice.total_amount)
      or (invoice.amount_paid > 0 and line.total > invoice.total_amount)
      or (invoice.deleted_at is not null and not v_restored);
  end if;

  if v_whole_ids is not null then
    perform private.keep_lines_whole(v_whole_ids);
  end if;

  if v_freed_by is not null then
    perform private.free_billed(v_freed_by, v_freed_sale_ids, v_freed_delivery_ids);
  end if;

  if v_line_ids is not null then
    select array_agg(line.invoice_id), array_agg(line.sale_id)
    into v_taken_by, v_sale_ids
    from public.invoice_line_items as line
    where (line.id = any(v_line_ids) or line.sale_id = any(v_sale_ids))
      and line.bills
      and line.sale_id is not null;
  end if;

  if v_sale_ids is not null and v_direct and not v_restored then
    perform private.keep_settled_sales(v_sale_ids);
  end if;

  if v_sale_ids is not null then
    perform private.take_sales(v_taken_by, v_sale_ids);
  end if;

  if v_direct_ids is not null then
    perform private.keep_line_totals(v_direct_ids);
  end if;

  return null;
end;
$$;

comment on function private.bill_listed_sales() is
'Trigger: lines of live invoices bill their sales and deliveries; what they leave is free again.';

revoke all on function private.bill_listed_sales() from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/sales/derive_sales.sql sha256:e54fc88acdcfac112b7564ef15236698f65f664d54568aa54d63b1053c25ee90
-- Puts the true payment_status of Credit sales that were just billed, freed or settled: Completed
-- when they or their invoice are paid, Billed on a live invoice, Pending when they were set free.
--
-- Not for any other sale: of those, what the app says holds.
--
-- Locks: none; the caller holds the sales.

create or replace function private.derive_sales(p_sale_ids uuid[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew took half of a call's time
as $$
begin
  -- write
  update public.sales as sale
  set
    payment_status = truth.payment_status,
    -- the app's own statements set it themselves; a restore keeps what was
    updated_at = case
      when current_setting('pymilk.call_id', true) <> '' then now()
      else sale.updated_at
    end
  from (
    select
      derived.id,
      case
        when bill.paid or (derived.amount_paid > 0 and derived.amount_paid >= derived.total_amount)
          then 'Completed'
        when bill.sale_id is not null then 'Billed'
        else 'Pending'
      end as payment_status
    from public.sales as derived
    left join private.bills_of_sales(p_sale_ids) as bill on derived.id = bill.sale_id
    where derived.id = any(p_sale_ids) and derived.sale_type = 'Credit'
  ) as truth
  where sale.id = truth.id and sale.payment_status <> truth.payment_status;
end;
$$;

comment on function private.derive_sales(uuid[]) is
'Puts the true payment_status of Credit sales that were just billed, freed or settled.';

revoke all on function private.derive_sales(uuid[])
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/sales/keep_billed_sale.sql sha256:58416f144c07035f1a9d63328b02fa9a4444a156833dc27a9c79e2e64cdbf04e
-- Refuses (23514) to change customer, type or total of a sale that a live invoice bills; the trigger's
-- WHEN clause says when one of them changes. Its status is derive_sale's.
--
-- Locks: none; the sale is held by the update itself.

create or replace function private.keep_billed_sale()
returns trigger
language plpgsql
security definer -- an invoker whom row security filters would see no invoice, silently
set search_path = pg_catalog, pg_temp
as $$
declare
  v_invoice_id uuid;
begin
  -- check
  select bill.invoice_id into v_invoice_id
  from private.bills_of_sales(array[old.id]) as bill;

  if found then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'sales',
      constraint = 'sales_billed_fixed',
      column = 'customer_id',
      message = 'a billed sale keeps its customer, its type and its total',
      detail = jsonb_build_object('id', old.id, 'invoice_id', v_invoice_id)::text,
      hint = 'Delete or cancel its invoice first.';
  end if;

  return new;
end;
$$;

comment on function private.keep_billed_sale() is
'Trigger: a sale that a live invoice bills keeps its customer, its type and its total.';

revoke all on function private.keep_billed_sale() from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/sales/keep_settled_sales.sql sha256:2a624680c97132f6c8b52bd512616fac3e686cea5550aa77d6a74ecd1cb2a9e5
-- Sales that lines of live invoices just took, directly or because their invoice came back: none may
-- have been settled at the counter (23514 otherwise), or it would be owed once more. A sale that an
-- allocation paid is take_sales's; the calls that bill read Pending ones alone.
--
-- Settled is a Credit sale that somebody said is Completed. One that is Completed because a live
-- invoice of it is paid stays with that.
--
-- Locks: the sales by id, `for no key update`; the caller holds the invoices.

create or replace function private.keep_settled_sales(p_sale_ids uuid[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew takes longer than its work
as $$
declare
  v_sale_id uuid;
begin
  -- lock
  perform
  from public.sales as sale
  where sale.id = any(p_sale_ids)
  order by sale.id
  for no key update;

  -- check
  select sale.id into v_sale_id
  from public.sales as sale
  left join private.bills_of_sales(p_sale_ids) as bill on sale.id = bill.sale_id
  where sale.id = any(p_sale_ids)
    and sale.sale_type = 'Credit'
    and sale.payment_status = 'Completed'
    and sale.amount_paid = 0
    and bill.paid is not true
  order by sale.id
  limit 1;

  if found then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'invoice_line_items',
      constraint = 'invoice_line_items_sale_unpaid',
      column = 'sale_id',
      message = 'a sale that was paid by itself cannot be billed',
      detail = jsonb_build_object('sale_id', v_sale_id, 'payment_status', 'Completed')::text,
      hint = 'Leave the sale off the invoice, or say that it is Pending when nobody paid it.';
  end if;
end;
$$;

comment on function private.keep_settled_sales(uuid[]) is
'Refuses to bill sales that were settled at the counter.';

revoke all on function private.keep_settled_sales(uuid[])
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/sales/settle_sales.sql sha256:99b51b5027abc5b4c143026c9bf97387067f622d1751224dfde8a36a5d1cb75a
-- After an invoice became paid: the Credit sales that it bills are Completed. After it stopped
-- being paid: they are Billed again.
--
-- The app's update_invoice_status_with_sales_completion did this on the change that it made itself;
-- now the status changes with the allocation, in its transaction, and the sales with it.
--
-- It also lets lines bill what they should after an invoice was cancelled or came back inside of a
-- trigger of somebody's; else bill_with_invoice does, for all invoices of the statement.
--
-- Locks: the invoice is held by the update itself; then its sales by id, `for no key update`.

create or replace function private.settle_sales()
returns trigger
language plpgsql
security definer -- an invoker's update that row security filters would change nothing, silently
set search_path = pg_catalog, pg_temp
as $$
declare
  v_sale_ids uuid[];
begin
  if
    (new.invoice_status = 'cancelled') is distinct from (old.invoice_status = 'cancelled')
    and pg_trigger_depth() > 1
  then
    if new.invoice_status = 'cancelled' then
      perform private.bill_invoices(array[new.id], null);
    else
      perform private.bill_invoices(null, array[new.id]);
    end if;
  end if;

  if (new.invoice_status = 'paid') is not distinct from (old.invoice_status = 'paid') then
    return null;
  end if;

  perform
  from public.invoice_line_items as line
  where line.invoice_id = new.id and line.sale_id is not null;

  if not found then
    return null;
  end if;

  -- lock
  select array_agg(locked.id) into v_sale_ids
  from (
    select sale.id
    from public.sales as sale
    where sale.id in (
      select line.sale_id
      from public.invoice_line_items as line
      where line.invoice_id = new.id
    )
    order by sale.id
    for no key update
  ) as locked;

  -- write
  if v_sale_ids is not null then
    perform private.derive_sales(v_sale_ids);
  end if;

  return null;
end;
$$;

comment on function private.settle_sales() is
'Trigger: completes the Credit sales of an invoice that became paid, and bills them again after.';

revoke all on function private.settle_sales() from public, anon, authenticated, service_role;
-- <<<

-- what is there already --------------------------------------------------------------------------

-- Lines of cancelled invoices bill nothing. A sale or delivery that several live invoices hold is
-- billed by the oldest; the others stay as they are and check_payment_invariants() lists them.
with live as (
  select
    item.id,
    row_number() over (
      partition by item.sale_id order by invoice.created_at, invoice.id, item.created_at, item.id
    ) as sale_place,
    row_number() over (
      partition by item.delivery_id
      order by invoice.created_at, invoice.id, item.created_at, item.id
    ) as delivery_place,
    item.sale_id,
    item.delivery_id
  from public.invoice_line_items as item
  inner join public.invoice_metadata as invoice on item.invoice_id = invoice.id
  where coalesce(invoice.invoice_status, 'draft') <> 'cancelled'
),

billing as (
  select id
  from live
  where (sale_id is null or sale_place = 1) and (delivery_id is null or delivery_place = 1)
)

update public.invoice_line_items as item
set bills = false
where item.id not in (select billing.id from billing);

insert into public.invoice_sales_mapping (invoice_id, sale_id, mapped_at)
select
  item.invoice_id,
  item.sale_id,
  coalesce(item.created_at, now())
from public.invoice_line_items as item
where item.bills and item.sale_id is not null;

-- Lines of a month are indexed in seconds; `concurrently` would commit what came before.
-- squawk-ignore require-concurrent-index-creation
create unique index invoice_line_items_sale_billed_once
on public.invoice_line_items (sale_id)
where bills and sale_id is not null;

-- squawk-ignore require-concurrent-index-creation
create unique index invoice_line_items_delivery_billed_once
on public.invoice_line_items (delivery_id)
where bills and delivery_id is not null;

-- For whoever takes over when a line stops billing.
-- squawk-ignore require-concurrent-index-creation
create index invoice_line_items_delivery_not_billing
on public.invoice_line_items (delivery_id)
where not bills and delivery_id is not null;

-- Deleting an invoice asks who names it: the foreign key would read all payments each time.
-- squawk-ignore require-concurrent-index-creation
create index payments_primary_invoice
on public.payments (primary_invoice_id)
where primary_invoice_id is not null;

-- billing ----------------------------------------------------------------------------------------

create trigger keep_bills_on_insert
before insert on public.invoice_line_items
for each row
when (new.bills is null)
execute function private.keep_bills();

-- Deeper than 0 the database itself writes it.
create trigger keep_bills_on_update
before update on public.invoice_line_items
for each row
when (
  new.bills is distinct from old.bills
  and private.outside_our_triggers()
)
execute function private.keep_bills();

-- In place of gap 005's: a role of the API may stand deeper than 0, in a trigger of its own.
create or replace trigger bill_on_update
after update on public.invoice_line_items
referencing old table as old_rows new table as new_rows
for each statement
when (private.outside_our_triggers())
execute function private.bill_listed_sales();

create trigger refuse_truncate
before truncate on public.invoice_line_items
for each statement execute function private.refuse_statement(
  'invoice_line_items_bill',
  'lines hold sales and deliveries billed and cannot be truncated',
  'Delete the rows instead.'
);

-- When money moves counters this is not called: they move deeper than 0. Others who write there as the
-- owner are settle_sales's.
create trigger bill_with_invoice
after update on public.invoice_metadata
referencing old table as old_rows new table as new_rows
for each statement
when (private.outside_our_triggers())
execute function private.bill_with_invoice();

create trigger keep_billed_sale
before update on public.sales
for each row
when (
  new.customer_id is distinct from old.customer_id
  or new.sale_type <> old.sale_type
  or new.total_amount <> old.total_amount
)
execute function private.keep_billed_sale();

create trigger keep_billed_delivery
before update on public.deliveries
for each row
when (
  new.customer_id <> old.customer_id
  or new.total_amount <> old.total_amount
  or (old.delivery_status = 'delivered' and new.delivery_status is distinct from 'delivered')
)
execute function private.keep_billed_delivery();

-- A line that let go of its sale would set it free and charge it all the same; of a cancelled invoice
-- too, once that comes back.
create trigger refuse_letting_go
before update on public.invoice_line_items
for each row
when (
  old.invoice_id is not null
  and (
    new.invoice_id is distinct from old.invoice_id
    or (old.sale_id is not null and new.sale_id is distinct from old.sale_id)
    or (old.delivery_id is not null and new.delivery_id is distinct from old.delivery_id)
  )
)
execute function private.refuse_row(
  'invoice_line_items_billing_fixed',
  'invoice_id',
  'a line keeps its invoice, and the sale or delivery that it bills',
  'Remove the line and write another.'
);

-- Nothing of ours changes these inside of a trigger. Who does, as the owner, would not be asked what a
-- direct write is asked.
create trigger refuse_change_deeper
before update of invoice_id, sale_id, delivery_id, line_total on public.invoice_line_items
for each row
when (
  not private.outside_our_triggers()
  and (
    new.invoice_id is distinct from old.invoice_id
    or new.sale_id is distinct from old.sale_id
    or new.delivery_id is distinct from old.delivery_id
    or new.line_total is distinct from old.line_total
  )
)
execute function private.refuse_change_deeper();

-- Deleting and recovering, wherever they are called, name a column that the counters don't.
create or replace trigger derive_invoice_deeper
before update of total_amount, due_date, deleted_at on public.invoice_metadata
for each row
when (not private.outside_our_triggers())
execute function private.derive_invoice();

create trigger keep_issued_total
before update of total_amount, invoice_status, deleted_at on public.invoice_metadata
for each row
execute function private.keep_issued_total();

create trigger keep_billing_customer
before update of customer_id on public.invoice_metadata
for each row
when (new.customer_id is distinct from old.customer_id)
execute function private.keep_billing_customer();

create trigger replace_mapping
before insert on public.invoice_sales_mapping
for each row
when (private.outside_our_triggers())
execute function private.replace_mapping();

-- deletion ---------------------------------------------------------------------------------------

create trigger keep_deletion_on_insert
before insert on public.invoice_metadata
for each row
when (num_nonnulls(new.deleted_at, new.deleted_by, new.status_before_deletion) > 0)
execute function private.keep_deletion();

create trigger keep_deletion_on_update
before update of deleted_at, deleted_by, status_before_deletion on public.invoice_metadata
for each row
when (coalesce(current_setting('pymilk.call_id', true), '') = '')
execute function private.keep_deletion();

create trigger refuse_reinstatement_on_insert
before insert on public.invoice_metadata
for each row
when (new.deleted_at is not null and new.invoice_status is distinct from 'cancelled')
execute function private.refuse_row(
  'invoice_metadata_deleted_is_cancelled',
  'invoice_status',
  'a deleted invoice is cancelled',
  'Recover the invoice with recover_invoice.'
);

-- the audit trail --------------------------------------------------------------------------------

create trigger refuse_change
before update or delete or truncate on public.audit_trail
for each statement execute function private.refuse_statement(
  'audit_trail_append_only',
  'the audit trail is only ever appended to',
  'Correct the thing itself; the trail follows.'
);

create trigger audit_insert
after insert on public.payments
referencing new table as new_rows
for each statement execute function private.audit_rows('payment');

create trigger audit_delete
after delete on public.payments
referencing old table as old_rows
for each statement execute function private.audit_rows('payment');

create trigger audit_edit
after update of customer_id, amount, payment_date, payment_method, period_start, period_end,
notes, primary_invoice_id, voided_at on public.payments
for each row
when (
  new.customer_id is distinct from old.customer_id
  or new.amount is distinct from old.amount
  or new.payment_date is distinct from old.payment_date
  or new.payment_method is distinct from old.payment_method
  or new.period_start is distinct from old.period_start
  or new.period_end is distinct from old.period_end
  or new.notes is distinct from old.notes
  or new.primary_invoice_id is distinct from old.primary_invoice_id
  or new.voided_at is distinct from old.voided_at
)
execute function private.audit_edit('payment');

create trigger audit_insert
after insert on public.invoice_metadata
referencing new table as new_rows
for each statement execute function private.audit_rows('invoice');

create trigger audit_delete
after delete on public.invoice_metadata
referencing old table as old_rows
for each statement execute function private.audit_rows('invoice');

create trigger audit_edit
after update of invoice_number, customer_id, invoice_date, period_start, period_end, total_amount,
subscription_amount, manual_sales_amount, gst_amount, file_path, status, due_date, deleted_at,
invoice_status on public.invoice_metadata
for each row
execute function private.audit_edit('invoice');

create trigger audit_delete
after delete on public.invoice_line_items
referencing old table as old_rows
for each statement execute function private.audit_removed_lines();

create trigger audit_edit
after update on public.customers
for each row
when (new.opening_balance is distinct from old.opening_balance)
execute function private.audit_edit('customer');
