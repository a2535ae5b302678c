-- What somebody says of `bills` is neither an error nor believed: it follows from the line's
-- invoice (bill_listed_sales, bill_with_invoice).
--
-- Locks: none but the row's own.

create or replace function private.keep_bills()
returns trigger
language plpgsql
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  new.bills := case when tg_op = 'UPDATE' then old.bills else true end;

  return new;
end;
$$;

comment on function private.keep_bills() is
'Trigger: puts back what a caller says of invoice_line_items.bills.';

revoke all on function private.keep_bills() from public, anon, authenticated, service_role;
