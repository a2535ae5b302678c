-- Undoes gap 005, exactly: every allocation stays; the counters and what guards them go, and with
-- them the journal of settlements. Statuses of sales that the gap had corrected go back to what they
-- were, where nobody has changed them since.
--
-- The app goes back first: the functions are gone afterwards, and they did not exist before.
--
-- Locks: `drop trigger` takes access exclusive on customers, sales and invoice_line_items, from here
-- to the commit; opening_balance_payments and sales_payments are closed to writers.

do $$
begin
  lock table public.sales_payments in share row exclusive mode;
end;
$$;

drop trigger derive_opening_balance_paid_on_insert on public.customers;
drop trigger derive_opening_balance_paid_on_update on public.customers;
drop trigger refuse_opening_balance_on_insert on public.customers;
drop trigger refuse_opening_balance_on_update on public.customers;
drop trigger refuse_overpayment on public.customers;

drop trigger derive_sale_on_insert on public.sales;
drop trigger derive_sale_on_update on public.sales;
drop trigger refuse_total_on_insert on public.sales;
drop trigger refuse_total_on_update on public.sales;
drop trigger refuse_overpayment on public.sales;
drop trigger refuse_total_of_paid on public.sales;
drop trigger refuse_customer_change on public.sales;

drop trigger bill_on_insert on public.invoice_line_items;
drop trigger bill_on_update on public.invoice_line_items;
drop trigger free_on_delete on public.invoice_line_items;

create or replace trigger lock_payment
before insert or update of payment_id, customer_id, amount on public.opening_balance_payments
for each row
when (coalesce(current_setting('pymilk.call_id', true), '') = '')
execute function private.lock_payment();

drop trigger refuse_change on private.settlement_journal;

update public.sales as sale
set payment_status = correction.was
from private.sale_status_corrections as correction
where sale.id = correction.sale_id and sale.payment_status = correction.corrected_to;

-- functions, as they were before ----------------------------------------------------------------

-- >>> sql/functions/allocations/allocate_to_opening_balance.sql was not there
drop function private.allocate_to_opening_balance(uuid, uuid, numeric);
-- <<<

-- >>> sql/functions/allocations/allocate_to_sales.sql was not there
drop function private.allocate_to_sales(uuid, uuid[], numeric[]);
-- <<<

-- >>> sql/functions/allocations/check_settlements.sql was not there
drop function private.check_settlements();
-- <<<

-- >>> sql/functions/allocations/count_opening_balance_payments.sql as of 20250917000000_gap_001_allocate_payment_atomic sha256:f4793bc1aacc4a25724827ad2f151159d909f52fce157f4dda69373b8689440a
-- After any change of opening_balance_payments: moves the counter of the payments.
--
-- Locks: payments by id, `for no key update`.

create or replace function private.count_opening_balance_payments()
returns trigger
language plpgsql
security definer -- an invoker's update that row security filters would count nothing, silently
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew took half of a call's time
as $$
declare
  v_payment_ids uuid[];
  v_changes numeric[];
begin
  if tg_op <> 'DELETE' then
    select array_agg(added.payment_id), array_agg(added.amount)
    into v_payment_ids, v_changes
    from new_rows as added;
  end if;

  if tg_op <> 'INSERT' then
    select
      v_payment_ids || array_agg(gone.payment_id),
      v_changes || array_agg(-gone.amount)
    into v_payment_ids, v_changes
    from old_rows as gone;
  end if;

  if v_changes is not null then
    perform private.move_amount_applied(v_payment_ids, v_changes);
  end if;

  return null;
end;
$$;

comment on function private.count_opening_balance_payments() is
'Trigger: moves the counter of payments by what changed in opening_balance_payments.';

revoke all on function private.count_opening_balance_payments()
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/allocations/count_sales_payments.sql as of 20250917000000_gap_001_allocate_payment_atomic sha256:f8827a326d558c364d0b0094ab22dd2bc8851ccd7fd14e0761d4bb0442d1a83c
-- After any change of sales_payments: moves the counter of the payments.
--
-- Locks: payments by id, `for no key update`.

create or replace function private.count_sales_payments()
returns trigger
language plpgsql
security definer -- an invoker's update that row security filters would count nothing, silently
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew took half of a call's time
as $$
declare
  v_payment_ids uuid[];
  v_changes numeric[];
begin
  if tg_op <> 'DELETE' then
    select array_agg(added.payment_id), array_agg(added.amount_allocated)
    into v_payment_ids, v_changes
    from new_rows as added;
  end if;

  if tg_op <> 'INSERT' then
    select
      v_payment_ids || array_agg(gone.payment_id),
      v_changes || array_agg(-gone.amount_allocated)
    into v_payment_ids, v_changes
    from old_rows as gone;
  end if;

  if v_changes is not null then
    perform private.move_amount_applied(v_payment_ids, v_changes);
  end if;

  return null;
end;
$$;

comment on function private.count_sales_payments() is
'Trigger: moves the counter of payments by what changed in sales_payments.';

revoke all on function private.count_sales_payments()
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/allocations/hold_to_allocate.sql was not there
drop function private.hold_to_allocate(uuid);
-- <<<

-- >>> sql/functions/allocations/lock_customer_and_payment.sql was not there
drop function private.lock_customer_and_payment();
-- <<<

-- >>> sql/functions/allocations/move_opening_balance_paid.sql was not there
drop function private.move_opening_balance_paid(uuid[], uuid[], numeric[]);
-- <<<

-- >>> sql/functions/allocations/move_sale_paid.sql was not there
drop function private.move_sale_paid(uuid[], uuid[], numeric[], boolean);
-- <<<

-- >>> sql/functions/allocations/parse_sales.sql was not there
drop function private.parse_sales(jsonb);
-- <<<

-- >>> sql/functions/allocations/undo_call.sql as of 20250918000000_gap_002_rollback_partial_allocation sha256:1f3358e547821489c60e065b739753c6fb226a20583b4194433476df8510dea6
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

-- >>> sql/functions/allocations/undo_settlements.sql was not there
drop function private.undo_settlements(uuid, uuid);
-- <<<

-- >>> sql/functions/customers/derive_opening_balance_paid.sql was not there
drop function private.derive_opening_balance_paid();
-- <<<

-- >>> sql/functions/payments/allocate_opening_balance_atomic.sql was not there
drop function public.allocate_opening_balance_atomic(uuid, uuid, numeric);
-- <<<

-- >>> sql/functions/payments/allocate_payment_to_sales_atomic.sql was not there
drop function public.allocate_payment_to_sales_atomic(uuid, jsonb);
-- <<<

-- >>> sql/functions/payments/auto_allocate_payment.sql was not there
drop function public.auto_allocate_payment(uuid, text);
-- <<<

-- >>> sql/functions/payments/check_payment_invariants.sql as of 20250920000000_gap_004_unapplied_payments sha256:fe7a264a6187154bb373b486f3d5a657400cb93aa48849ece04c42377cb09c76
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

-- >>> sql/functions/payments/describe_applied.sql was not there
drop function private.describe_applied(numeric, uuid[], numeric[], uuid[], numeric[]);
-- <<<

-- >>> sql/functions/payments/parse_payment.sql was not there
drop function private.parse_payment(jsonb);
-- <<<

-- >>> sql/functions/payments/record_payment_atomic.sql was not there
drop function public.record_payment_atomic(jsonb);
-- <<<

-- >>> sql/functions/rules/calendar_date.sql was not there
drop function private.calendar_date(text);
-- <<<

-- >>> sql/functions/rules/money.sql was not there
drop function private.money(jsonb);
-- <<<

-- >>> sql/functions/sales/bill_listed_sales.sql was not there
drop function private.bill_listed_sales();
-- <<<

-- >>> sql/functions/sales/bills_of_sales.sql was not there
drop function private.bills_of_sales(uuid[]);
-- <<<

-- >>> sql/functions/sales/derive_sale.sql was not there
drop function private.derive_sale();
-- <<<

-- what the gap added -----------------------------------------------------------------------------

drop index public.invoice_line_items_sale;
drop table private.sale_status_corrections;
drop table private.settlement_journal;
alter table public.sales drop column amount_paid;
alter table public.customers drop column opening_balance_paid;
