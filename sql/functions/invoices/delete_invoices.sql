-- Deletes invoices, all or none: the core under the RPCs, without keys.
--
-- For later recovery (p_permanent false) an invoice is cancelled and says when, by whom and what
-- it was before; its lines stay and bill nothing. For good, lines and invoice go; the audit trail
-- keeps both, and payments that named it as their primary invoice name none. An invoice that was
-- deleted can still be deleted for good.
--
-- Sales and deliveries that it billed are set free by the triggers; nobody else's are touched.
--
-- Refusals: PT404 invoice_not_found, PT409 invoice_deleted, invoice_holds_money.
-- Locks: customers by id, payments by id (for good only), invoices by id `for update` (no upgrade
-- later, and nobody adds lines or money meanwhile), sales by id.

create or replace function private.delete_invoices(
  p_invoice_ids uuid[],
  p_permanent boolean,
  out reverted_sales_count integer,
  out line_items_count integer
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew takes longer than its work
as $$
declare
  v_fault record;
  v_sale_ids uuid[];
begin
  -- lock
  perform
  from public.customers as customer
  where customer.id in (
    select invoice.customer_id
    from public.invoice_metadata as invoice
    where invoice.id = any(p_invoice_ids)
  )
  order by customer.id
  for no key update;

  if p_permanent then
    perform
    from public.payments as payment
    where payment.primary_invoice_id = any(p_invoice_ids)
    order by payment.id
    for no key update;
  end if;

  perform
  from public.invoice_metadata as invoice
  where invoice.id = any(p_invoice_ids)
  order by invoice.id
  for update;

  -- check
  select
    named.invoice_id,
    invoice.id is null as unknown,
    invoice.deleted_at is not null and not p_permanent as deleted,
    invoice.deleted_at,
    invoice.amount_paid
  into v_fault
  from unnest(p_invoice_ids) with ordinality as named (invoice_id, position)
  left join public.invoice_metadata as invoice on named.invoice_id = invoice.id
  where invoice.id is null
    or (invoice.deleted_at is not null and not p_permanent)
    or exists (
      select
      from public.invoice_payments as allocation
      where allocation.invoice_id = invoice.id
    )
  order by named.position
  limit 1;

  if found and v_fault.unknown then
    raise exception using
      errcode = 'PT404',
      message = 'invoice_not_found',
      detail = jsonb_build_object('invoice_id', v_fault.invoice_id)::text,
      hint = 'The invoice does not exist or was deleted; reload the customer''s invoices.';
  elsif found and v_fault.deleted then
    raise exception using
      errcode = 'PT409',
      message = 'invoice_deleted',
      detail = jsonb_build_object(
        'invoice_id', v_fault.invoice_id, 'deleted_at', v_fault.deleted_at
      )::text,
      hint = 'The invoice is deleted already; recover it, or delete it for good.';
  elsif found then
    raise exception using
      errcode = 'PT409',
      message = 'invoice_holds_money',
      detail = jsonb_build_object(
        'invoice_id', v_fault.invoice_id, 'amount_paid', v_fault.amount_paid
      )::text,
      hint = 'Take the payments off the invoice first, then delete it.';
  end if;

  select count(*), array_agg(line.sale_id) filter (where line.bills and line.sale_id is not null)
  into line_items_count, v_sale_ids
  from public.invoice_line_items as line
  where line.invoice_id = any(p_invoice_ids);

  -- write
  if p_permanent then
    update public.payments as payment
    set primary_invoice_id = null, updated_at = now()
    where payment.primary_invoice_id = any(p_invoice_ids);

    delete from public.invoice_line_items as line
    where line.invoice_id = any(p_invoice_ids);

    delete from public.invoice_metadata as invoice
    where invoice.id = any(p_invoice_ids);
  else
    update public.invoice_metadata as invoice
    set
      invoice_status = 'cancelled',
      deleted_at = now(),
      deleted_by = private.caller(),
      status_before_deletion = coalesce(invoice.invoice_status, 'draft'),
      updated_at = now()
    where invoice.id = any(p_invoice_ids);
  end if;

  -- return
  select count(*) into reverted_sales_count
  from public.sales as sale
  where sale.id = any(v_sale_ids) and sale.payment_status = 'Pending';
end;
$$;

comment on function private.delete_invoices(uuid[], boolean) is
'Deletes invoices, all or none, and sets free what they billed: the core under the RPCs.';

revoke all on function private.delete_invoices(uuid[], boolean)
from public, anon, authenticated, service_role;
