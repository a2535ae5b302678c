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
