-- Sales and deliveries that lines just stopped billing: the mapping says until when, and the sales
-- are Pending again unless they were paid by themselves.
--
-- Rows from before gap 006 may hold a sale or delivery on several live invoices, of which one bills
-- it. When that one goes, the oldest of the others takes its place: otherwise what a customer is
-- charged with already would be billed once more.
--
-- p_invoice_ids, p_sale_ids, p_delivery_ids: one element a line; sale or delivery may be null.
-- Locks: the invoices of such others by id, then the sales by id, `for no key update`; the lines
-- are held already.

create or replace function private.free_billed(
  p_invoice_ids uuid[],
  p_sale_ids uuid[],
  p_delivery_ids uuid[]
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew takes longer than its work
as $$
declare
  v_invoice_ids uuid[];
  v_sale_ids uuid[];
begin
  -- lock
  perform
  from public.invoice_metadata as invoice
  where invoice.invoice_status is distinct from 'cancelled'
    and invoice.id in (
      select line.invoice_id
      from public.invoice_line_items as line
      where not line.bills
        and (line.sale_id = any(p_sale_ids) or line.delivery_id = any(p_delivery_ids))
    )
  order by invoice.id
  for no key update;

  perform
  from public.sales as sale
  where sale.id = any(p_sale_ids)
  order by sale.id
  for no key update;

  -- write
  update public.invoice_sales_mapping as mapping
  set released_at = now()
  from unnest(p_invoice_ids, p_sale_ids) as freed (invoice_id, sale_id)
  where mapping.invoice_id = freed.invoice_id
    and mapping.sale_id = freed.sale_id
    and mapping.released_at is null;

  with idle as (
    select line.id, line.sale_id, line.delivery_id, line.created_at, invoice.created_at as issued_at
    from public.invoice_line_items as line
    inner join public.invoice_metadata as invoice on line.invoice_id = invoice.id
    where not line.bills
      and (line.sale_id = any(p_sale_ids) or line.delivery_id = any(p_delivery_ids))
      and invoice.invoice_status is distinct from 'cancelled'
      and not exists (
        select
        from public.invoice_line_items as billing
        where billing.bills and billing.sale_id = line.sale_id
      )
      and not exists (
        select
        from public.invoice_line_items as billing
        where billing.bills and billing.delivery_id = line.delivery_id
      )
  ),

  heir as (
    select distinct on (idle.sale_id, idle.delivery_id) idle.id
    from idle
    order by idle.sale_id, idle.delivery_id, idle.issued_at, idle.created_at, idle.id
  ),

  promoted as (
    update public.invoice_line_items as line
    set bills = true
    from heir
    where line.id = heir.id
    returning line.invoice_id, line.sale_id
  )

  select array_agg(promoted.invoice_id), array_agg(promoted.sale_id)
  into v_invoice_ids, v_sale_ids
  from promoted
  where promoted.sale_id is not null;

  if v_sale_ids is not null then
    perform private.take_sales(v_invoice_ids, v_sale_ids);
  end if;

  perform private.derive_sales(p_sale_ids);
end;
$$;

comment on function private.free_billed(uuid[], uuid[], uuid[]) is
'Sets sales and deliveries free that lines just stopped billing.';

revoke all on function private.free_billed(uuid[], uuid[], uuid[])
from public, anon, authenticated, service_role;
