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
