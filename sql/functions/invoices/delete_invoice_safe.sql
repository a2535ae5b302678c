-- Deletes an invoice and sets free the sales and deliveries that it billed, and no others.
--
-- Without p_permanent it can be recovered (recover_invoice); with it, lines and invoice are gone
-- and the audit trail keeps a copy. Either way it is refused while money is allocated to the
-- invoice.
--
-- With an idempotency key the same call gets its first answer again (see claim_request).
--
-- Refusals, raised so that nothing stays written:
--   PT400 invoice_required, idempotency_key_invalid
--   PT404 invoice_not_found
--   PT409 invoice_deleted, invoice_holds_money, idempotency_key_reused, request_undone
--
-- Locks: the idempotency key, the customer, payments that name the invoice (p_permanent), the
-- invoice `for update`, its sales by id.

create or replace function public.delete_invoice_safe(
  p_invoice_id uuid,
  p_permanent boolean default false,
  out success boolean,
  out invoice_id uuid,
  out invoice_number text,
  out permanent boolean,
  out reverted_sales_count integer,
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
  v_permanent boolean := coalesce(p_permanent, false);
  v_arguments jsonb;
  v_request record;
begin
  if p_invoice_id is null then
    raise exception using
      errcode = 'PT400',
      message = 'invoice_required',
      detail = jsonb_build_object('p_invoice_id', null)::text,
      hint = 'Name the invoice to delete.';
  end if;

  v_arguments := jsonb_build_object('invoice_id', p_invoice_id, 'permanent', v_permanent);

  -- lock
  select claimed.call_id, claimed.answer into v_request
  from private.claim_request('delete_invoice_safe', v_key, v_arguments) as claimed;

  if v_request.answer is not null then
    select first_answer.*
    into success, invoice_id, invoice_number, permanent, reverted_sales_count, line_items_count
    from jsonb_to_record(v_request.answer) as first_answer (
      success boolean,
      invoice_id uuid,
      invoice_number text,
      permanent boolean,
      reverted_sales_count integer,
      line_items_count integer
    );
    return;
  end if;

  -- check and write
  select invoice.invoice_number into invoice_number
  from public.invoice_metadata as invoice
  where invoice.id = p_invoice_id;

  perform set_config('pymilk.call_id', v_request.call_id::text, true);

  select deleted.reverted_sales_count, deleted.line_items_count
  into reverted_sales_count, line_items_count
  from private.delete_invoices(array[p_invoice_id], v_permanent) as deleted;

  perform set_config('pymilk.call_id', v_outer_call, true);

  -- return
  success := true;
  invoice_id := p_invoice_id;
  permanent := v_permanent;

  perform private.finish_request(
    'delete_invoice_safe', v_key, v_arguments, v_request.call_id,
    jsonb_build_object(
      'success', success,
      'invoice_id', invoice_id,
      'invoice_number', invoice_number,
      'permanent', permanent,
      'reverted_sales_count', reverted_sales_count,
      'line_items_count', line_items_count
    )
  );
end;
$$;

comment on function public.delete_invoice_safe(uuid, boolean) is
'Deletes an invoice and sets free what it billed. Refused while money is allocated to it.

p_permanent: true deletes it for good; else it can be recovered
never null: all but invoice_number';

revoke all on function public.delete_invoice_safe(uuid, boolean)
from public, anon, authenticated, service_role;
grant execute on function public.delete_invoice_safe(uuid, boolean)
to authenticated, service_role;
