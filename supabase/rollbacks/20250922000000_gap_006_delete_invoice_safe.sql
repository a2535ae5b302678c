-- Undoes gap 006, exactly.
--
-- Nothing is deleted and nothing comes back to life: a deleted invoice stays cancelled, with its
-- lines, and is an ordinary cancelled invoice from then on. The audit trail, the mapping and what
-- the columns said go; the toolkit archives them before.
--
-- The app goes back first: delete_invoice_safe and recover_invoice are gone afterwards, and they
-- did not exist before.
--
-- Locks: `drop trigger` takes access exclusive on the tables below, from here to the commit.

drop trigger keep_bills_on_insert on public.invoice_line_items;
drop trigger keep_bills_on_update on public.invoice_line_items;
drop trigger refuse_truncate on public.invoice_line_items;
drop trigger bill_with_invoice on public.invoice_metadata;
drop trigger keep_billed_sale on public.sales;
drop trigger keep_billed_delivery on public.deliveries;
drop trigger refuse_letting_go on public.invoice_line_items;
drop trigger refuse_change_deeper on public.invoice_line_items;
drop trigger keep_issued_total on public.invoice_metadata;
drop trigger keep_billing_customer on public.invoice_metadata;
drop trigger keep_deletion_on_insert on public.invoice_metadata;
drop trigger keep_deletion_on_update on public.invoice_metadata;
drop trigger refuse_reinstatement_on_insert on public.invoice_metadata;
drop trigger audit_insert on public.payments;
drop trigger audit_delete on public.payments;
drop trigger audit_edit on public.payments;
drop trigger audit_insert on public.invoice_metadata;
drop trigger audit_delete on public.invoice_metadata;
drop trigger audit_edit on public.invoice_metadata;
drop trigger audit_delete on public.invoice_line_items;
drop trigger audit_edit on public.customers;
drop trigger replace_mapping on public.invoice_sales_mapping;

create or replace trigger derive_invoice_deeper
before update of total_amount, due_date on public.invoice_metadata
for each row
when (not private.outside_our_triggers())
execute function private.derive_invoice();

create or replace trigger bill_on_update
after update on public.invoice_line_items
referencing old table as old_rows new table as new_rows
for each statement execute function private.bill_listed_sales();

drop index public.payments_primary_invoice;

-- functions, as they were before ----------------------------------------------------------------

-- >>> sql/functions/audit/audit_edit.sql was not there
drop function private.audit_edit();
-- <<<

-- >>> sql/functions/audit/audit_removed_lines.sql was not there
drop function private.audit_removed_lines();
-- <<<

-- >>> sql/functions/audit/audit_rows.sql was not there
drop function private.audit_rows();
-- <<<

-- >>> sql/functions/invoices/bill_invoices.sql was not there
drop function private.bill_invoices(uuid[], uuid[]);
-- <<<

-- >>> sql/functions/invoices/bill_with_invoice.sql was not there
drop function private.bill_with_invoice();
-- <<<

-- >>> sql/functions/invoices/check_billing.sql was not there
drop function private.check_billing();
-- <<<

-- >>> sql/functions/invoices/delete_invoice_and_revert_sales.sql as of 20250901000000_baseline sha256:ef76a2a2142ee937842fe3f680a9c491cd49d75c03c4b614ef71a7957cc57b4b
-- Reverts sales by the invoice's date range, whichever invoice had billed them.
create or replace function public.delete_invoice_and_revert_sales(p_invoice_id uuid)
returns jsonb
language plpgsql
as $$
declare
  invoice public.invoice_metadata%rowtype;
  reverted integer;
  removed integer;
begin
  select * into invoice from public.invoice_metadata where id = p_invoice_id;
  if not found then
    return jsonb_build_object('success', false, 'error', 'Invoice not found');
  end if;

  update public.sales
  set payment_status = 'Pending', updated_at = now()
  where customer_id = invoice.customer_id
    and sale_type = 'Credit'
    and payment_status in ('Billed', 'Completed')
    and sale_date between invoice.period_start and invoice.period_end;
  get diagnostics reverted = row_count;

  delete from public.invoice_line_items where invoice_id = p_invoice_id;
  get diagnostics removed = row_count;

  delete from public.invoice_metadata where id = p_invoice_id;

  return jsonb_build_object(
    'success', true,
    'invoice_number', invoice.invoice_number,
    'reverted_sales_count', reverted,
    'deleted_line_items_count', removed
  );
end;
$$;
-- <<<

-- >>> sql/functions/invoices/delete_invoice_safe.sql was not there
drop function public.delete_invoice_safe(uuid, boolean);
-- <<<

-- >>> sql/functions/invoices/delete_invoices.sql was not there
drop function private.delete_invoices(uuid[], boolean);
-- <<<

-- >>> sql/functions/invoices/derive_invoice.sql as of 20250917000000_gap_001_allocate_payment_atomic sha256:1044c0c79d4d6f90edaff1569d99507642c722c1d72de2a0e66d598dbe0ede5a
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

-- >>> sql/functions/invoices/free_billed.sql was not there
drop function private.free_billed(uuid[], uuid[], uuid[]);
-- <<<

-- >>> sql/functions/invoices/keep_billed_delivery.sql was not there
drop function private.keep_billed_delivery();
-- <<<

-- >>> sql/functions/invoices/keep_billing_customer.sql was not there
drop function private.keep_billing_customer();
-- <<<

-- >>> sql/functions/invoices/keep_bills.sql was not there
drop function private.keep_bills();
-- <<<

-- >>> sql/functions/invoices/keep_deletion.sql was not there
drop function private.keep_deletion();
-- <<<

-- >>> sql/functions/invoices/keep_issued_total.sql was not there
drop function private.keep_issued_total();
-- <<<

-- >>> sql/functions/invoices/keep_line_totals.sql was not there
drop function private.keep_line_totals(uuid[]);
-- <<<

-- >>> sql/functions/invoices/keep_lines_whole.sql was not there
drop function private.keep_lines_whole(uuid[]);
-- <<<

-- >>> sql/functions/invoices/recover_invoice.sql was not there
drop function public.recover_invoice(uuid);
-- <<<

-- >>> sql/functions/invoices/replace_mapping.sql was not there
drop function private.replace_mapping();
-- <<<

-- >>> sql/functions/invoices/revive_invoice.sql was not there
drop function private.revive_invoice(uuid);
-- <<<

-- >>> sql/functions/invoices/take_deliveries.sql was not there
drop function private.take_deliveries(uuid[], uuid[]);
-- <<<

-- >>> sql/functions/invoices/take_sales.sql was not there
drop function private.take_sales(uuid[], uuid[]);
-- <<<

-- >>> sql/functions/payments/check_payment_invariants.sql as of 20250921000000_gap_005_allocate_opening_balance_atomic sha256:9a780cbdd18f81abb74f319b8cf01de296d65778ceb8494ce03c6a77025964a2
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
  select * from private.check_settlements();
end;
$$;

comment on function public.check_payment_invariants() is
'Every broken invariant of the books as a row; none when all is well.';

revoke all on function public.check_payment_invariants()
from public, anon, authenticated, service_role;
grant execute on function public.check_payment_invariants() to authenticated, service_role;
-- <<<

-- >>> sql/functions/rules/refuse_change_deeper.sql was not there
drop function private.refuse_change_deeper();
-- <<<

-- >>> sql/functions/sales/bill_listed_sales.sql as of 20250921000000_gap_005_allocate_opening_balance_atomic sha256:431dc40e93da1aa7a1f80ac7880f9cf9421e13994730a9217e96f5961ff01a5b
-- After any change of invoice_line_items: the Credit sales on the lines are Billed (Completed when
-- their invoice is paid), and Pending again when no live invoice has them any more.
--
-- A sale that was paid by itself is refused on a live invoice: its customer would pay it twice. The
-- sale's lock settles who comes first, the line or the payment. A line that says it was made earlier
-- than now comes from a `--data-only` restore, and so does the status of its sale; the roles of the
-- API restore nothing.
--
-- Locks: sales by id, `for no key update`.

create or replace function private.bill_listed_sales()
returns trigger
language plpgsql
security definer -- an invoker's update that row security filters would change nothing, silently
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew took half of a call's time
as $$
declare
  v_sale_ids uuid[];
  v_freed uuid[];
  v_offence uuid;
begin
  if tg_op = 'INSERT' then
    select array_agg(distinct added.sale_id) into v_sale_ids
    from new_rows as added
    where added.sale_id is not null
      and (
        added.created_at is not distinct from now()
        or current_setting('role', true) in ('anon', 'authenticated', 'service_role')
      );
  elsif tg_op = 'DELETE' then
    -- lines of a cancelled invoice billed nothing; those of an invoice that is gone did
    select array_agg(distinct gone.sale_id) into v_freed
    from old_rows as gone
    left join public.invoice_metadata as invoice on gone.invoice_id = invoice.id
    where gone.sale_id is not null and invoice.invoice_status is distinct from 'cancelled';
  else
    select
      array_agg(distinct added.sale_id) filter (where added.sale_id is not null),
      array_agg(distinct gone.sale_id) filter (
        where gone.sale_id is not null and invoice.invoice_status is distinct from 'cancelled'
      )
    into v_sale_ids, v_freed
    from new_rows as added
    inner join old_rows as gone on added.id = gone.id
    left join public.invoice_metadata as invoice on gone.invoice_id = invoice.id
    where (added.sale_id, added.invoice_id) is distinct from (gone.sale_id, gone.invoice_id);
  end if;

  if v_sale_ids is null and v_freed is null then
    return null;
  end if;

  -- lock
  perform
  from public.sales as sale
  where sale.id = any(v_sale_ids || v_freed)
  order by sale.id
  for no key update;

  -- check
  select sale.id into v_offence
  from public.sales as sale
  inner join private.bills_of_sales(v_sale_ids) as bill on sale.id = bill.sale_id
  where sale.amount_paid > 0
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
      detail = jsonb_build_object('sale_id', v_offence)::text,
      hint = 'Leave the sale off the invoice, or take its payment off first.';
  end if;

  -- write
  update public.sales as sale
  set payment_status = derived.status, updated_at = now()
  from (
    select
      named.id,
      case
        when bill.paid then 'Completed'
        when bill.sale_id is not null then 'Billed'
        else 'Pending'
      end as status
    from unnest(v_sale_ids || v_freed) as named (id)
    left join private.bills_of_sales(v_sale_ids || v_freed) as bill on named.id = bill.sale_id
    where bill.sale_id is not null or named.id = any(v_freed)
  ) as derived
  where sale.id = derived.id
    and sale.sale_type = 'Credit'
    and sale.amount_paid = 0
    and sale.payment_status <> derived.status;

  return null;
end;
$$;

comment on function private.bill_listed_sales() is
'Trigger: bills the sales on the lines of an invoice, and frees those that are on none any more.';

revoke all on function private.bill_listed_sales() from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/sales/derive_sales.sql was not there
drop function private.derive_sales(uuid[]);
-- <<<

-- >>> sql/functions/sales/keep_billed_sale.sql was not there
drop function private.keep_billed_sale();
-- <<<

-- >>> sql/functions/sales/keep_settled_sales.sql was not there
drop function private.keep_settled_sales(uuid[]);
-- <<<

-- >>> sql/functions/sales/settle_sales.sql as of 20250917000000_gap_001_allocate_payment_atomic sha256:e9134369ca24e098e6fd2922cd981e022bdcfda6c1bfcac26ea9bb1f1e1f329d
-- After an invoice became paid: its Credit sales are Completed. After it stopped being paid: they
-- are Billed again, but for those that were paid by themselves.
--
-- The app's update_invoice_status_with_sales_completion did this on the change that it made itself;
-- now the status changes with the allocation, in its transaction, and the sales with it.
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
  if (new.invoice_status = 'paid') is not distinct from (old.invoice_status = 'paid') then
    return null;
  end if;

  -- lock
  select array_agg(locked.id) into v_sale_ids
  from (
    select sale.id
    from public.sales as sale
    where sale.sale_type = 'Credit'
      and sale.id in (
        select line.sale_id
        from public.invoice_line_items as line
        where line.invoice_id = new.id
      )
    order by sale.id
    for no key update
  ) as locked;

  -- write
  if new.invoice_status = 'paid' then
    update public.sales as sale
    set payment_status = 'Completed', updated_at = now()
    where sale.id = any(v_sale_ids) and sale.payment_status = 'Billed';
  else
    update public.sales as sale
    set payment_status = 'Billed', updated_at = now()
    where sale.id = any(v_sale_ids)
      and sale.payment_status = 'Completed'
      and not exists (
        select
        from public.sales_payments as allocation
        where allocation.sales_id = sale.id
      );
  end if;

  return null;
end;
$$;

comment on function private.settle_sales() is
'Trigger: completes the Credit sales of an invoice that became paid, and bills them again after.';

revoke all on function private.settle_sales() from public, anon, authenticated, service_role;
-- <<<

comment on function public.delete_invoice_and_revert_sales(uuid) is null;

select private.restore_privileges('20250922000000_gap_006_delete_invoice_safe');

-- what the gap added -----------------------------------------------------------------------------

drop table public.audit_trail;
drop table public.invoice_sales_mapping;
alter table public.invoice_line_items drop column bills;
alter table public.invoice_metadata
drop column status_before_deletion,
drop column deleted_by,
drop column deleted_at;
