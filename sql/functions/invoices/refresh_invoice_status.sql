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
