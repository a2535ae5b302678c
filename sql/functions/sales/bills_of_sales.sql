-- The live invoice on which each of these sales stands, and whether it is paid; no row for a sale
-- that is not billed. A cancelled invoice bills nothing; a draft does.
--
-- Locks: none.

create or replace function private.bills_of_sales(p_sale_ids uuid[])
returns table (
  sale_id uuid,
  invoice_id uuid,
  paid boolean
)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew took half of a call's time
as $$
begin
  -- return
  return query
  select
    line.sale_id,
    (array_agg(invoice.id order by invoice.id))[1],
    bool_or(invoice.invoice_status = 'paid')
  from public.invoice_line_items as line
  inner join public.invoice_metadata as invoice on line.invoice_id = invoice.id
  where line.sale_id = any(p_sale_ids) and invoice.invoice_status is distinct from 'cancelled'
  group by line.sale_id;
end;
$$;

comment on function private.bills_of_sales(uuid[]) is
'The live invoice on which each of these sales stands, and whether it is paid.';

revoke all on function private.bills_of_sales(uuid[])
from public, anon, authenticated, service_role;
