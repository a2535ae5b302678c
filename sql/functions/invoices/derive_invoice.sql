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
