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
