-- The app's own way to delete an invoice: for good, and only the sales that this invoice billed are
-- Pending again (it used to revert all of the customer's sales by the invoice's dates).
--
-- An unknown invoice is answered, not refused, as it always was; money on the invoice is refused.
--
-- Refusals:
--   PT400 idempotency_key_invalid
--   PT404 invoice_not_found (deleted by somebody else at this very moment)
--   PT409 invoice_holds_money, idempotency_key_reused, request_undone
--
-- Locks: the idempotency key, the customer, payments that name the invoice, the invoice `for
-- update`, its sales by id.

create or replace function public.delete_invoice_and_revert_sales(p_invoice_id uuid)
returns jsonb
language plpgsql
volatile
security definer -- sales and the audit trail are written by the database alone
set search_path = pg_catalog, pg_temp
as $$
declare
  v_key text := private.idempotency_key();
  v_outer_call text := coalesce(current_setting('pymilk.call_id', true), ''); -- in its trigger
  v_arguments jsonb := jsonb_build_object('invoice_id', p_invoice_id);
  v_request record;
  v_invoice_number text;
  v_deleted record;
  v_answer jsonb;
begin
  -- lock
  select claimed.call_id, claimed.answer into v_request
  from private.claim_request('delete_invoice_and_revert_sales', v_key, v_arguments) as claimed;

  if v_request.answer is not null then
    return v_request.answer;
  end if;

  -- check and write
  select invoice.invoice_number into v_invoice_number
  from public.invoice_metadata as invoice
  where invoice.id = p_invoice_id;

  if not found then
    return jsonb_build_object('success', false, 'error', 'Invoice not found');
  end if;

  perform set_config('pymilk.call_id', v_request.call_id::text, true);

  select deleted.reverted_sales_count, deleted.line_items_count into v_deleted
  from private.delete_invoices(array[p_invoice_id], true) as deleted;

  perform set_config('pymilk.call_id', v_outer_call, true);

  -- return
  v_answer := jsonb_build_object(
    'success', true,
    'invoice_number', v_invoice_number,
    'reverted_sales_count', v_deleted.reverted_sales_count,
    'deleted_line_items_count', v_deleted.line_items_count
  );

  perform private.finish_request(
    'delete_invoice_and_revert_sales', v_key, v_arguments, v_request.call_id, v_answer
  );

  return v_answer;
end;
$$;

comment on function public.delete_invoice_and_revert_sales(uuid) is
'Deletes an invoice for good; the sales that it billed are Pending again. Refused while money is
allocated to it.

returns {"success": boolean, "error"?: text, "invoice_number"?: text | null,
  "reverted_sales_count"?: integer, "deleted_line_items_count"?: integer}';

revoke all on function public.delete_invoice_and_revert_sales(uuid)
from public, anon, authenticated, service_role;
grant execute on function public.delete_invoice_and_revert_sales(uuid)
to authenticated, service_role;
