-- Brings an invoice back that delete_invoice_safe deleted: it is what it was before, and its lines
-- bill their sales and deliveries again.
--
-- With an idempotency key the same call gets its first answer again (see claim_request).
--
-- Refusals, raised so that nothing stays written:
--   PT400 invoice_required, idempotency_key_invalid
--   PT404 invoice_not_found
--   PT409 invoice_not_deleted, period_taken (another live invoice of the customer overlaps),
--         sale_taken (billed elsewhere, paid by itself, or another customer's by now),
--         delivery_taken (billed elsewhere), billed_changed (a delivery was cancelled or moved to
--         another customer, or what is billed has another price by now), idempotency_key_reused,
--         request_undone
--
-- Locks: the idempotency key, the customer, the invoice `for update`, its sales by id.

create or replace function public.recover_invoice(
  p_invoice_id uuid,
  out success boolean,
  out invoice_id uuid,
  out invoice_number text,
  out invoice_status text,
  out billed_sales_count integer,
  out line_items_count integer
)
returns record
language plpgsql
volatile
security definer -- deletions, sales and the audit trail are written by the database alone
set search_path = pg_catalog, pg_temp
as $$
declare
  v_key text := private.idempotency_key();
  v_outer_call text := coalesce(current_setting('pymilk.call_id', true), ''); -- in its trigger
  v_arguments jsonb;
  v_request record;
begin
  if p_invoice_id is null then
    raise exception using
      errcode = 'PT400',
      message = 'invoice_required',
      detail = jsonb_build_object('p_invoice_id', null)::text,
      hint = 'Name the invoice to recover.';
  end if;

  v_arguments := jsonb_build_object('invoice_id', p_invoice_id);

  -- lock
  select claimed.call_id, claimed.answer into v_request
  from private.claim_request('recover_invoice', v_key, v_arguments) as claimed;

  if v_request.answer is not null then
    select first_answer.*
    into
      success, invoice_id, invoice_number, invoice_status, billed_sales_count, line_items_count
    from jsonb_to_record(v_request.answer) as first_answer (
      success boolean,
      invoice_id uuid,
      invoice_number text,
      invoice_status text,
      billed_sales_count integer,
      line_items_count integer
    );
    return;
  end if;

  -- check and write
  perform set_config('pymilk.call_id', v_request.call_id::text, true);
  perform private.revive_invoice(p_invoice_id);
  perform set_config('pymilk.call_id', v_outer_call, true);

  -- return
  success := true;

  select invoice.id, invoice.invoice_number, invoice.invoice_status
  into invoice_id, invoice_number, invoice_status
  from public.invoice_metadata as invoice
  where invoice.id = p_invoice_id;

  select count(line.sale_id) filter (where line.bills), count(*)
  into billed_sales_count, line_items_count
  from public.invoice_line_items as line
  where line.invoice_id = p_invoice_id;

  perform private.finish_request(
    'recover_invoice', v_key, v_arguments, v_request.call_id,
    jsonb_build_object(
      'success', success,
      'invoice_id', invoice_id,
      'invoice_number', invoice_number,
      'invoice_status', invoice_status,
      'billed_sales_count', billed_sales_count,
      'line_items_count', line_items_count
    )
  );
end;
$$;

comment on function public.recover_invoice(uuid) is
'Brings back an invoice that delete_invoice_safe deleted. Refused when its period, a sale or a
delivery of it has been taken or changed since.

invoice_status invoice_metadata.invoice_status
never null: all but invoice_number';

revoke all on function public.recover_invoice(uuid)
from public, anon, authenticated, service_role;
grant execute on function public.recover_invoice(uuid) to authenticated, service_role;
