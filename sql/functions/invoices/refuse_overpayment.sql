-- Refuses (23514) what the counter of an invoice must never say, whoever moves it: an invoice is not
-- paid beyond its total, and a cancelled one holds no money. Where no money moves, a status that is
-- said in spite of the totals is put right: derive_invoice does that for all but the owner inside of
-- a trigger, who may be the counters.
--
-- The rules compare with the row as it was: one that offended before the gap can be touched in other
-- columns, and can get better. One function and no WHEN clauses: every allocation comes by here, and
-- Postgres reads a WHEN clause from its text anew in each statement.
--
-- Locks: none but the row's own.

create or replace function private.refuse_overpayment()
returns trigger
language plpgsql
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- check
  if
    not (
      new.amount_paid >= 0
      and new.amount_paid <= new.total_amount
      and new.total_amount < 10000000000
    )
    and (
      new.amount_paid > old.amount_paid
      or new.total_amount < old.total_amount
      or new.amount_paid < 0
    )
  then
    raise exception using
      errcode = 'check_violation',
      schema = tg_table_schema,
      table = tg_table_name,
      constraint = 'invoice_metadata_paid_within_total',
      column = 'amount_paid',
      message = 'an invoice cannot be paid beyond its total',
      detail = jsonb_build_object('id', new.id, 'amount_paid', new.amount_paid)::text,
      hint = 'Allocate no more than what is outstanding, or take allocations off first.';
  elsif new.amount_paid = old.amount_paid or new.invoice_status = 'cancelled' then
    if new.invoice_status is distinct from 'cancelled' then
      new.amount_outstanding := new.total_amount - new.amount_paid;
      new.invoice_status := case
        when new.invoice_status is null then old.invoice_status
        when new.invoice_status = 'draft' then new.invoice_status
        when new.amount_paid >= new.total_amount then 'paid'
        when new.amount_paid > 0 then 'partially_paid'
        when new.invoice_status in ('sent', 'overdue') then new.invoice_status
        when old.invoice_status in ('paid', 'partially_paid') then 'sent'
        else old.invoice_status
      end;
    elsif new.amount_paid > old.amount_paid then
      raise exception using
        errcode = 'check_violation',
        schema = tg_table_schema,
        table = tg_table_name,
        constraint = 'invoice_metadata_cancelled_holds_nothing',
        column = 'amount_paid',
        message = 'a cancelled invoice takes no money',
        detail = jsonb_build_object('id', new.id, 'amount_paid', new.amount_paid)::text,
        hint = 'Allocate the payment to an invoice that is not cancelled.';
    elsif old.invoice_status is distinct from 'cancelled' and old.amount_paid <> 0 then
      raise exception using
        errcode = 'check_violation',
        schema = tg_table_schema,
        table = tg_table_name,
        constraint = 'invoice_metadata_cancelled_holds_nothing',
        column = 'invoice_status',
        message = 'an invoice that holds money cannot be cancelled',
        detail = jsonb_build_object('id', new.id, 'invoice_status', new.invoice_status)::text,
        hint = 'Take its allocations off first.';
    end if;
  end if;

  return new;
end;
$$;

comment on function private.refuse_overpayment() is
'Trigger: refuses (23514) what the counter of an invoice must never say.';

revoke all on function private.refuse_overpayment()
from public, anon, authenticated, service_role;
