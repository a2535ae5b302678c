-- Sales that lines of live invoices just took: each must be a Credit sale of the invoice's customer
-- that nobody paid by itself (23514 otherwise); it becomes Billed, and the mapping says by whom.
--
-- That nobody else bills it holds the unique index of the lines. Each gets another version, so that a
-- session which cannot see the line, its snapshot being older, cannot pay or price it by itself (40001).
--
-- p_invoice_ids, p_sale_ids: pairs.
-- Locks: the sales by id, `for no key update`; the caller holds the invoices.

create or replace function private.take_sales(p_invoice_ids uuid[], p_sale_ids uuid[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew takes longer than its work
as $$
declare
  v_offence record;
begin
  -- lock
  perform
  from public.sales as sale
  where sale.id = any(p_sale_ids)
  order by sale.id
  for no key update;

  -- check
  select
    billed.invoice_id,
    billed.sale_id,
    sale.sale_type <> 'Credit' or sale.customer_id <> invoice.customer_id as strange
  into v_offence
  from unnest(p_invoice_ids, p_sale_ids) as billed (invoice_id, sale_id)
  inner join public.invoice_metadata as invoice on billed.invoice_id = invoice.id
  inner join public.sales as sale on billed.sale_id = sale.id
  where sale.sale_type <> 'Credit'
    or sale.customer_id <> invoice.customer_id
    or sale.amount_paid > 0
  limit 1;

  if found and v_offence.strange then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'invoice_line_items',
      constraint = 'invoice_line_items_sale_of_customer',
      column = 'sale_id',
      message = 'an invoice bills Credit sales of its own customer alone',
      detail = jsonb_build_object(
        'invoice_id', v_offence.invoice_id, 'sale_id', v_offence.sale_id
      )::text,
      hint = 'Bill the sale to the customer who made it.';
  elsif found then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'invoice_line_items',
      constraint = 'invoice_line_items_sale_unpaid',
      column = 'sale_id',
      message = 'a sale that was paid by itself cannot be billed',
      detail = jsonb_build_object(
        'invoice_id', v_offence.invoice_id, 'sale_id', v_offence.sale_id
      )::text,
      hint = 'Leave the sale off the invoice, or take its payment off first.';
  end if;

  -- write
  insert into public.invoice_sales_mapping as mapping (invoice_id, sale_id)
  select billed.invoice_id, billed.sale_id
  from unnest(p_invoice_ids, p_sale_ids) as billed (invoice_id, sale_id)
  on conflict (invoice_id, sale_id) do update
  set released_at = null
  where mapping.released_at is not null;

  -- what is Pending gets its version from its new status
  update public.sales as sale
  set updated_at = sale.updated_at
  where sale.id = any(p_sale_ids) and sale.payment_status <> 'Pending';

  perform private.derive_sales(p_sale_ids);
end;
$$;

comment on function private.take_sales(uuid[], uuid[]) is
'Checks and bills sales that lines of live invoices just took.';

revoke all on function private.take_sales(uuid[], uuid[])
from public, anon, authenticated, service_role;
