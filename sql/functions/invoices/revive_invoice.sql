-- Brings a deleted invoice back: the core under recover_invoice, without keys.
--
-- An invoice that was cancelled before it was deleted is cancelled again and takes nothing.
--
-- Refusals: PT404 invoice_not_found, PT409 invoice_not_deleted, period_taken, sale_taken,
-- delivery_taken, billed_changed.
-- Locks: the customer, the invoice `for update` (no upgrade later), its sales by id. The lines take
-- their sales and deliveries by a unique index before the sales are locked: as in an insert of
-- lines, so that the two queue.

create or replace function private.revive_invoice(p_invoice_id uuid)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_invoice record;
  v_taken record;
  v_changed record;
begin
  -- lock
  perform
  from public.customers as customer
  where customer.id = (
    select invoice.customer_id
    from public.invoice_metadata as invoice
    where invoice.id = p_invoice_id
  )
  for no key update;

  select
    invoice.customer_id,
    invoice.period_start,
    invoice.period_end,
    invoice.invoice_status,
    invoice.deleted_at,
    invoice.status_before_deletion
  into v_invoice
  from public.invoice_metadata as invoice
  where invoice.id = p_invoice_id
  for update;

  -- check
  if not found then
    raise exception using
      errcode = 'PT404',
      message = 'invoice_not_found',
      detail = jsonb_build_object('invoice_id', p_invoice_id)::text,
      hint = 'The invoice does not exist or was deleted for good; the audit trail has a copy.';
  elsif v_invoice.deleted_at is null then
    raise exception using
      errcode = 'PT409',
      message = 'invoice_not_deleted',
      detail = jsonb_build_object(
        'invoice_id', p_invoice_id, 'invoice_status', v_invoice.invoice_status
      )::text,
      hint = 'Nothing is to be recovered; reload the customer''s invoices.';
  end if;

  if v_invoice.status_before_deletion is distinct from 'cancelled' then
    select other.id, other.period_start, other.period_end into v_taken
    from public.invoice_metadata as other
    where other.customer_id = v_invoice.customer_id
      and other.id <> p_invoice_id
      and other.invoice_status is distinct from 'cancelled'
      and other.period_start <= v_invoice.period_end
      and other.period_end >= v_invoice.period_start
    order by other.period_start, other.id
    limit 1;

    if found then
      raise exception using
        errcode = 'PT409',
        message = 'period_taken',
        detail = jsonb_build_object(
          'invoice_id', p_invoice_id,
          'taken_by', v_taken.id,
          'period_start', v_taken.period_start,
          'period_end', v_taken.period_end
        )::text,
        hint = 'The customer has another invoice for these days by now; delete that one first.';
    end if;

    select line.sale_id, billing.invoice_id into v_taken
    from public.invoice_line_items as line
    inner join public.sales as sale on line.sale_id = sale.id
    left join public.invoice_line_items as billing
      on line.sale_id = billing.sale_id and billing.bills
    where line.invoice_id = p_invoice_id
      and (
        billing.id is not null
        or sale.sale_type <> 'Credit'
        or sale.customer_id <> v_invoice.customer_id
        or sale.amount_paid > 0
        or sale.payment_status = 'Completed' -- at the counter: deleted, the invoice set it free
      )
    order by line.sale_id
    limit 1;

    if found then
      raise exception using
        errcode = 'PT409',
        message = 'sale_taken',
        detail = jsonb_build_object(
          'invoice_id', p_invoice_id, 'sale_id', v_taken.sale_id, 'taken_by', v_taken.invoice_id
        )::text,
        hint = 'A sale of the invoice was billed elsewhere or paid since; make a new invoice.';
    end if;

    select line.delivery_id, billing.invoice_id into v_taken
    from public.invoice_line_items as line
    inner join public.invoice_line_items as billing
      on line.delivery_id = billing.delivery_id and billing.bills
    where line.invoice_id = p_invoice_id
    order by line.delivery_id
    limit 1;

    if found then
      raise exception using
        errcode = 'PT409',
        message = 'delivery_taken',
        detail = jsonb_build_object(
          'invoice_id', p_invoice_id,
          'delivery_id', v_taken.delivery_id,
          'taken_by', v_taken.invoice_id
        )::text,
        hint = 'A delivery of the invoice was billed elsewhere since; make a new invoice.';
    end if;
  end if;

  -- write: which issued status it is, derive_invoice says
  update public.invoice_metadata as invoice
  set
    invoice_status = case
      when v_invoice.status_before_deletion in ('draft', 'cancelled')
        then v_invoice.status_before_deletion
      else 'sent'
    end,
    deleted_at = null,
    deleted_by = null,
    status_before_deletion = null,
    updated_at = now()
  where invoice.id = p_invoice_id;

  -- check what it bills now that nobody else can change it: the sales are locked with their lines,
  -- the deliveries by the customer (keep_billed_delivery)
  select
    line.delivery_id,
    line.sale_id,
    line.line_total,
    delivery.customer_id,
    delivery.delivery_status,
    coalesce(
      delivery.total_amount + sale.total_amount, delivery.total_amount, sale.total_amount
    ) as total_amount
  into v_changed
  from public.invoice_line_items as line
  left join public.deliveries as delivery on line.delivery_id = delivery.id
  left join public.sales as sale on line.sale_id = sale.id
  where line.invoice_id = p_invoice_id
    and line.bills
    and (
      delivery.customer_id <> v_invoice.customer_id
      or (delivery.id is not null and delivery.delivery_status is distinct from 'delivered')
      or line.line_total <> coalesce(
        delivery.total_amount + sale.total_amount, delivery.total_amount, sale.total_amount
      )
    )
  order by line.delivery_id, line.sale_id
  limit 1;

  if found then
    raise exception using
      errcode = 'PT409',
      message = 'billed_changed',
      detail = jsonb_strip_nulls(jsonb_build_object(
        'invoice_id', p_invoice_id,
        'delivery_id', v_changed.delivery_id,
        'sale_id', v_changed.sale_id,
        'customer_id', v_changed.customer_id,
        'delivery_status', v_changed.delivery_status,
        'line_total', v_changed.line_total,
        'total_amount', v_changed.total_amount
      ))::text,
      hint = 'What the invoice bills is not what it was; make a new invoice.';
  end if;
end;
$$;

comment on function private.revive_invoice(uuid) is
'Brings a deleted invoice back: the core under recover_invoice.';

revoke all on function private.revive_invoice(uuid) from public, anon, authenticated, service_role;
