-- Deletes invoices so that they can be recovered, and sets free what they billed: what
-- delete_invoice_safe does, for many at once, all or nothing.
--
-- p_invoice_ids: one named twice counts once.
-- p_validate_payments: true refuses the run when one of them holds money; false skips and reports
-- those. Money is never taken off. What is deleted already is skipped either way.
-- outcomes: a list in the order of the invoices' numbers, for each invoice_id its outcome (deleted,
-- holds_money, already_deleted), invoice_number, customer_id, and total_amount and amount_paid in
-- rupees.
--
-- With an idempotency key the same call gets its first answer again (see claim_request).
--
-- Refusals, raised so that nothing stays written:
--   PT400 invoice_ids_invalid, idempotency_key_invalid
--   PT404 invoice_not_found
--   PT409 invoice_holds_money, idempotency_key_reused, request_undone
--
-- Locks: the idempotency key, then customers by id, invoices by id `for update`, their sales by id.

create or replace function public.delete_bulk_invoices_safe(
  p_invoice_ids uuid[],
  p_validate_payments boolean default true,
  out success boolean,
  out invoices_deleted integer,
  out skipped integer,
  out reverted_sales_count integer,
  out outcomes jsonb
)
returns record
language plpgsql
volatile
security definer -- deletions, sales and the audit trail are written by the database alone
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan -- one invoice or a month of them: planned for that many
as $$
declare
  v_key text := private.idempotency_key();
  v_outer_call text := coalesce(current_setting('pymilk.call_id', true), ''); -- in its trigger
  v_refuse_money boolean := coalesce(p_validate_payments, true);
  v_invoice_ids uuid[];
  v_nameless bigint;
  v_arguments jsonb;
  v_request record;
  v_unknown uuid[];
  v_holding uuid[];
  v_deletable uuid[];
begin
  select array_agg(distinct named.id order by named.id), count(*) filter (where named.id is null)
  into v_invoice_ids, v_nameless
  from unnest(p_invoice_ids) as named (id);

  if v_invoice_ids is null or v_nameless > 0 then
    raise exception using
      errcode = 'PT400',
      message = 'invoice_ids_invalid',
      detail = jsonb_build_object('invoice_ids', p_invoice_ids[1:100])::text,
      hint = 'Name at least one invoice to delete, each by its id.';
  end if;

  v_arguments := jsonb_build_object(
    'invoice_ids', v_invoice_ids, 'validate_payments', v_refuse_money
  );

  -- lock
  select claimed.call_id, claimed.answer into v_request
  from private.claim_request('delete_bulk_invoices_safe', v_key, v_arguments) as claimed;

  if v_request.answer is not null then
    select first_answer.*
    into success, invoices_deleted, skipped, reverted_sales_count, outcomes
    from jsonb_to_record(v_request.answer) as first_answer (
      success boolean,
      invoices_deleted integer,
      skipped integer,
      reverted_sales_count integer,
      outcomes jsonb
    );
    return;
  end if;

  perform
  from public.customers as customer
  where customer.id in (
    select invoice.customer_id
    from public.invoice_metadata as invoice
    where invoice.id = any(v_invoice_ids)
  )
  order by customer.id
  for no key update;

  perform
  from public.invoice_metadata as invoice
  where invoice.id = any(v_invoice_ids)
  order by invoice.id
  for update;

  -- check
  with judged as (
    select
      named.id,
      invoice.invoice_number,
      invoice.customer_id,
      invoice.total_amount,
      invoice.amount_paid,
      case
        when invoice.id is null then 'unknown'
        when invoice.deleted_at is not null then 'already_deleted'
        when
          exists (
            select
            from public.invoice_payments as allocation
            where allocation.invoice_id = named.id
          )
          then 'holds_money'
        else 'deleted'
      end as outcome
    from unnest(v_invoice_ids) as named (id)
    left join public.invoice_metadata as invoice on named.id = invoice.id
  )

  select
    array_agg(judged.id) filter (where judged.outcome = 'unknown'),
    array_agg(judged.id) filter (where judged.outcome = 'holds_money'),
    array_agg(judged.id) filter (where judged.outcome = 'deleted'),
    count(*) filter (where judged.outcome <> 'deleted'),
    jsonb_agg(
      jsonb_build_object(
        'invoice_id', judged.id,
        'outcome', judged.outcome,
        'invoice_number', judged.invoice_number,
        'customer_id', judged.customer_id,
        'total_amount', judged.total_amount,
        'amount_paid', judged.amount_paid
      )
      order by judged.invoice_number, judged.id
    )
  into v_unknown, v_holding, v_deletable, skipped, outcomes
  from judged;

  if v_unknown is not null then
    raise exception using
      errcode = 'PT404',
      message = 'invoice_not_found',
      detail = jsonb_build_object('invoice_ids', v_unknown[1:100])::text,
      hint = 'The invoice does not exist or was deleted for good; reload the list of invoices.';
  elsif v_refuse_money and v_holding is not null then
    raise exception using
      errcode = 'PT409',
      message = 'invoice_holds_money',
      detail = jsonb_build_object(
        'invoices', cardinality(v_holding), 'invoice_ids', v_holding[1:100]
      )::text,
      hint = 'Take the payments off the invoices first, or leave them out.';
  end if;

  -- write
  perform set_config('pymilk.call_id', v_request.call_id::text, true);

  select deleted.reverted_sales_count into reverted_sales_count
  from private.delete_invoices(coalesce(v_deletable, '{}'), false) as deleted;

  perform set_config('pymilk.call_id', v_outer_call, true);

  -- return
  success := true;
  invoices_deleted := coalesce(cardinality(v_deletable), 0);

  perform private.finish_request(
    'delete_bulk_invoices_safe', v_key, v_arguments, v_request.call_id,
    jsonb_build_object(
      'success', success,
      'invoices_deleted', invoices_deleted,
      'skipped', skipped,
      'reverted_sales_count', reverted_sales_count,
      'outcomes', outcomes
    )
  );
end;
$$;

comment on function public.delete_bulk_invoices_safe(uuid[], boolean) is
'Deletes invoices, all or nothing, recoverably; what they billed is free again.

p_validate_payments: false skips and reports those that hold money, instead of refusing
outcomes [{"invoice_id": uuid, "outcome": "deleted" | "holds_money" | "already_deleted",
  "invoice_number": text | null, "customer_id": uuid, "total_amount": numeric, "amount_paid":
  numeric | null}]
never null: all';

revoke all on function public.delete_bulk_invoices_safe(uuid[], boolean)
from public, anon, authenticated, service_role;
grant execute on function public.delete_bulk_invoices_safe(uuid[], boolean) to service_role;
