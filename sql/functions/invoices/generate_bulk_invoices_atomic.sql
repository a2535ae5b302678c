-- Invoices many customers for a period in one step: every customer who can be invoiced is, or, when
-- anything fails, nobody. What each customer's invoice bills is told by billing_lines.
--
-- p_customer_ids: null for everyone who has something to bill; one named twice counts once.
-- p_validate_existing: true refuses the run when one of them has a live invoice that overlaps the
-- period; false skips and reports those.
-- outcomes: a list in the order of the customers' names, for each customer_id its outcome (invoiced,
-- nothing_to_bill, already_invoiced, invalid_delivery, invalid_sale), invoice_id, invoice_number,
-- total_amount in rupees, and the reason, a sentence, and facts where there is no invoice.
-- The log of a run is the caller's (log_bulk_operation): a refused run rolls back all of its own.
--
-- With an idempotency key the same call gets its first answer again (see claim_request).
--
-- Refusals, raised so that nothing stays written:
--   PT400 period_required, period_invalid, customers_empty, customer_required,
--         idempotency_key_invalid
--   PT404 customer_not_found
--   PT409 already_invoiced, invoice_numbers_exhausted, idempotency_key_reused, request_undone
--
-- Locks: the idempotency key, then customers by id, then as generate_invoices says.

create or replace function public.generate_bulk_invoices_atomic(
  p_period_start date,
  p_period_end date,
  p_customer_ids uuid[],
  p_validate_existing boolean default true,
  out success boolean,
  out invoices_created integer,
  out skipped integer,
  out total_amount numeric,
  out invoice_numbers text[],
  out outcomes jsonb
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
  v_refuse_invoiced boolean := coalesce(p_validate_existing, true);
  v_customer_ids uuid[] := private.parse_customer_ids(p_customer_ids);
  v_arguments jsonb;
  v_request record;
begin
  v_arguments := jsonb_build_object(
    'period_start', p_period_start,
    'period_end', p_period_end,
    'customer_ids', v_customer_ids,
    'validate_existing', v_refuse_invoiced
  );

  -- lock
  select claimed.call_id, claimed.answer into v_request
  from private.claim_request('generate_bulk_invoices_atomic', v_key, v_arguments) as claimed;

  if v_request.answer is not null then
    select first_answer.*
    into success, invoices_created, skipped, total_amount, invoice_numbers, outcomes
    from jsonb_to_record(v_request.answer) as first_answer (
      success boolean,
      invoices_created integer,
      skipped integer,
      total_amount numeric,
      invoice_numbers text[],
      outcomes jsonb
    );
    return;
  end if;

  -- check and write
  perform set_config('pymilk.call_id', v_request.call_id::text, true);

  select
    true,
    count(*) filter (where made.outcome = 'invoiced'),
    count(*) filter (where made.outcome <> 'invoiced'),
    coalesce(sum(made.total_amount), 0),
    coalesce(array_agg(made.invoice_number) filter (where made.outcome = 'invoiced'), '{}'),
    coalesce(
      jsonb_agg(
        jsonb_build_object(
          'customer_id', made.customer_id,
          'outcome', made.outcome,
          'invoice_id', made.invoice_id,
          'invoice_number', made.invoice_number,
          'total_amount', made.total_amount,
          'reason', private.billing_reason(made.outcome, made.facts),
          'facts', made.facts
        )
      ), '[]'
    )
  into success, invoices_created, skipped, total_amount, invoice_numbers, outcomes
  from private.generate_invoices(
    v_customer_ids, p_period_start, p_period_end, v_refuse_invoiced
  ) as made;

  perform set_config('pymilk.call_id', v_outer_call, true);

  -- return
  perform private.finish_request(
    'generate_bulk_invoices_atomic', v_key, v_arguments, v_request.call_id,
    jsonb_build_object(
      'success', success,
      'invoices_created', invoices_created,
      'skipped', skipped,
      'total_amount', total_amount,
      'invoice_numbers', invoice_numbers,
      'outcomes', outcomes
    )
  );
end;
$$;

comment on function public.generate_bulk_invoices_atomic(date, date, uuid[], boolean) is
'Invoices customers for a period, all or nothing.

p_customer_ids uuid[] | null: null is everyone with something to bill
p_validate_existing: false skips and reports those who are invoiced already, instead of refusing
invoice_numbers text[]
outcomes [{"customer_id": uuid, "outcome": text, "invoice_id": uuid | null, "invoice_number":
  text | null, "total_amount": numeric | null, "reason": text | null, "facts": jsonb}]: by the
  customers'' names; a reason where there is no invoice
never null: all';

revoke all on function public.generate_bulk_invoices_atomic(date, date, uuid[], boolean)
from public, anon, authenticated, service_role;
grant execute on function public.generate_bulk_invoices_atomic(date, date, uuid[], boolean)
to authenticated, service_role;
