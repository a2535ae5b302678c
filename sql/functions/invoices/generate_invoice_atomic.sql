-- Invoices one customer for a period in one step. What is billed is told by billing_lines, how by
-- generate_invoices: the same as in a bulk run. An invoice that can't be made is refused here.
--
-- With an idempotency key the same call gets its first answer again (see claim_request).
--
-- Refusals, raised so that nothing stays written:
--   PT400 customer_required, period_required, period_invalid, idempotency_key_invalid
--   PT404 customer_not_found
--   PT409 already_invoiced, invoice_numbers_exhausted, idempotency_key_reused, request_undone
--   PT422 nothing_to_bill, delivery_invalid, sale_invalid, total_too_large
--
-- Locks: the idempotency key, then the customer, then as generate_invoices says.

create or replace function public.generate_invoice_atomic(
  p_customer_id uuid,
  p_period_start date,
  p_period_end date,
  out success boolean,
  out invoice_id uuid,
  out invoice_number text,
  out invoice_date date,
  out due_date date,
  out invoice_status text,
  out total_amount numeric,
  out subscription_amount numeric,
  out manual_sales_amount numeric,
  out gst_amount numeric,
  out line_items integer
)
returns record
language plpgsql
volatile
security definer -- numbers, keys and the audit trail are written by the database alone
set search_path = pg_catalog, pg_temp
as $$
declare
  v_key text := private.idempotency_key();
  v_outer_call text := coalesce(current_setting('pymilk.call_id', true), ''); -- in its trigger
  v_arguments jsonb;
  v_request record;
  v_made record;
begin
  if p_customer_id is null then
    raise exception using
      errcode = 'PT400',
      message = 'customer_required',
      detail = jsonb_build_object('p_customer_id', null)::text,
      hint = 'Name the customer to invoice.';
  end if;

  v_arguments := jsonb_build_object(
    'customer_id', p_customer_id, 'period_start', p_period_start, 'period_end', p_period_end
  );

  -- lock
  select claimed.call_id, claimed.answer into v_request
  from private.claim_request('generate_invoice_atomic', v_key, v_arguments) as claimed;

  if v_request.answer is not null then
    select first_answer.*
    into
      success, invoice_id, invoice_number, invoice_date, due_date, invoice_status, total_amount,
      subscription_amount, manual_sales_amount, gst_amount, line_items
    from jsonb_to_record(v_request.answer) as first_answer (
      success boolean,
      invoice_id uuid,
      invoice_number text,
      invoice_date date,
      due_date date,
      invoice_status text,
      total_amount numeric,
      subscription_amount numeric,
      manual_sales_amount numeric,
      gst_amount numeric,
      line_items integer
    );
    return;
  end if;

  -- check and write
  perform set_config('pymilk.call_id', v_request.call_id::text, true);

  select made.* into v_made
  from private.generate_invoices(array[p_customer_id], p_period_start, p_period_end, false) as made;

  perform set_config('pymilk.call_id', v_outer_call, true);

  if v_made.outcome = 'already_invoiced' then
    raise exception using
      errcode = 'PT409',
      message = 'already_invoiced',
      detail = (jsonb_build_object('customer_id', p_customer_id) || v_made.facts)::text,
      hint = private.billing_reason(v_made.outcome, v_made.facts);
  elsif v_made.outcome = 'nothing_to_bill' then
    raise exception using
      errcode = 'PT422',
      message = 'nothing_to_bill',
      detail = jsonb_build_object(
        'customer_id', p_customer_id, 'period_start', p_period_start, 'period_end', p_period_end
      )::text,
      hint = 'No delivery and no Credit sale of the period is waiting for an invoice.';
  elsif v_made.outcome = 'invalid_delivery' then
    raise exception using
      errcode = 'PT422',
      message = 'delivery_invalid',
      detail = (jsonb_build_object('customer_id', p_customer_id) || v_made.facts)::text,
      hint = private.billing_reason(v_made.outcome, v_made.facts);
  elsif v_made.outcome = 'invalid_sale' then
    raise exception using
      errcode = 'PT422',
      message = 'sale_invalid',
      detail = (jsonb_build_object('customer_id', p_customer_id) || v_made.facts)::text,
      hint = private.billing_reason(v_made.outcome, v_made.facts);
  elsif v_made.outcome = 'total_too_large' then
    raise exception using
      errcode = 'PT422',
      message = 'total_too_large',
      detail = (jsonb_build_object('customer_id', p_customer_id) || v_made.facts)::text,
      hint = private.billing_reason(v_made.outcome, v_made.facts);
  end if;

  -- return
  select
    true,
    invoice.id,
    invoice.invoice_number,
    invoice.invoice_date,
    invoice.due_date,
    invoice.invoice_status,
    invoice.total_amount,
    invoice.subscription_amount,
    invoice.manual_sales_amount,
    invoice.gst_amount,
    (
      select count(*)
      from public.invoice_line_items as line
      where line.invoice_id = invoice.id
    )
  into
    success, invoice_id, invoice_number, invoice_date, due_date, invoice_status, total_amount,
    subscription_amount, manual_sales_amount, gst_amount, line_items
  from public.invoice_metadata as invoice
  where invoice.id = v_made.invoice_id;

  perform private.finish_request(
    'generate_invoice_atomic', v_key, v_arguments, v_request.call_id,
    jsonb_build_object(
      'success', success,
      'invoice_id', invoice_id,
      'invoice_number', invoice_number,
      'invoice_date', invoice_date,
      'due_date', due_date,
      'invoice_status', invoice_status,
      'total_amount', total_amount,
      'subscription_amount', subscription_amount,
      'manual_sales_amount', manual_sales_amount,
      'gst_amount', gst_amount,
      'line_items', line_items
    )
  );
end;
$$;

comment on function public.generate_invoice_atomic(uuid, date, date) is
'Invoices one customer for a period: its delivered deliveries and Credit sales, each once.

invoice_status invoice_metadata.invoice_status
never null: all';

revoke all on function public.generate_invoice_atomic(uuid, date, date)
from public, anon, authenticated, service_role;
grant execute on function public.generate_invoice_atomic(uuid, date, date)
to authenticated, service_role;
