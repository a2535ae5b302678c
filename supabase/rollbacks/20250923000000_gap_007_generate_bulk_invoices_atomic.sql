-- Undoes gap 007, exactly.

-- functions, as they were before ----------------------------------------------------------------

-- >>> sql/functions/bulk_operations/log_bulk_operation.sql was not there
drop function public.log_bulk_operation(text, jsonb);
-- <<<

-- >>> sql/functions/bulk_operations/update_bulk_operation_status.sql was not there
drop function public.update_bulk_operation_status(uuid, text, jsonb, text);
-- <<<

-- >>> sql/functions/invoices/billing_lines.sql was not there
drop function private.billing_lines(uuid[], date, date);
-- <<<

-- >>> sql/functions/invoices/billing_reason.sql was not there
drop function private.billing_reason(text, jsonb);
-- <<<

-- >>> sql/functions/invoices/check_period.sql was not there
drop function private.check_period(date, date);
-- <<<

-- >>> sql/functions/invoices/delete_bulk_invoices_safe.sql was not there
drop function public.delete_bulk_invoices_safe(uuid[], boolean);
-- <<<

-- >>> sql/functions/invoices/derive_invoice.sql as of 20250917000000_gap_001_allocate_payment_atomic sha256:6d89fbc4adbb25ffde46785d7df6dcdc61c2b87928a5a93f4a0b17dcaab2f8e6
-- Puts what follows from the allocations into an invoice that somebody inserts or updates: whatever
-- the caller says of it is neither an error nor believed.
--
-- draft and cancelled are the caller's intent, and so is sending a draft. paid, partially_paid and
-- overdue follow from totals and dates: said of a draft or of a cancelled invoice, they change
-- nothing. The counter only moves inside the triggers of invoice_payments, which is why this one
-- runs at trigger depth 0 alone.
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

-- >>> sql/functions/invoices/due_date.sql was not there
drop function private.due_date(date, integer);
-- <<<

-- >>> sql/functions/invoices/financial_year.sql was not there
drop function private.financial_year(date);
-- <<<

-- >>> sql/functions/invoices/generate_bulk_invoices_atomic.sql was not there
drop function public.generate_bulk_invoices_atomic(date, date, uuid[], boolean);
-- <<<

-- >>> sql/functions/invoices/generate_invoices.sql was not there
drop function private.generate_invoices(uuid[], date, date, boolean);
-- <<<

-- >>> sql/functions/invoices/parse_customer_ids.sql was not there
drop function private.parse_customer_ids(uuid[]);
-- <<<

-- >>> sql/functions/invoices/preview_bulk_invoices.sql was not there
drop function public.preview_bulk_invoices(date, date, uuid[]);
-- <<<

-- >>> sql/functions/invoices/take_invoice_numbers.sql was not there
drop function private.take_invoice_numbers(text, integer);
-- <<<

-- what the gap added -----------------------------------------------------------------------------

drop table public.bulk_operation_logs;
