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
