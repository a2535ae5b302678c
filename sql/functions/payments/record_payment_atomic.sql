-- Records a payment with everything that it pays, in one transaction: the payment, its share of the
-- opening balance, its invoices and its sales; or nothing of it.
--
-- p_payment: {"customer_id": uuid, "amount": rupees, "payment_date": day (the dairy's today),
-- "payment_method", "notes", "period_start", "period_end", "opening_balance": rupees,
-- "allocations": [{"invoiceId": uuid, "amount": rupees}], "sales": [{"saleId": uuid}]}.
-- With an idempotency key the same call gets its first answer again (see claim_request). Undone by
-- its key it loses its allocations; the payment stays, unapplied.
--
-- Refusals, raised so that nothing stays written:
--   PT400 payment_not_an_object, payment_key_unknown, payment_field_malformed, amount_required,
--         amount_invalid, date_invalid, period_reversed, allocations_not_a_list,
--         allocation_malformed, idempotency_key_invalid
--   PT404 customer_not_found, invoice_not_found, sale_not_found
--   PT409 allocation_exceeds_payment, allocation_exceeds_opening_balance,
--         allocation_exceeds_invoice, invoice_cancelled, sale_billed, sale_already_paid,
--         idempotency_key_reused, request_undone
--   PT422 payment_without_customer, customer_mismatch, invoice_named_twice, sale_named_twice,
--         sale_not_payable, sale_paid_whole
--
-- Locks: the idempotency key, the customer where its opening balance is paid, the invoices by id,
-- the sales by id. The payment is its own until the commit.

create or replace function public.record_payment_atomic(
  p_payment jsonb,
  out success boolean,
  out payment_id uuid,
  out allocated_amount numeric,
  out total_allocated numeric,
  out payment_amount numeric,
  out unapplied_amount numeric,
  out allocation_status text,
  out applied jsonb
)
returns record
language plpgsql
volatile
security definer -- counters, keys and the journal are written by the database alone
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew took half of a call's time
as $$
declare
  v_key text := private.idempotency_key();
  v_outer_call text := coalesce(current_setting('pymilk.call_id', true), ''); -- in its trigger
  v_payment record;
  v_arguments jsonb;
  v_request record;
  v_sale_amounts numeric[];
begin
  v_payment := private.parse_payment(p_payment);

  if v_key is not null then
    v_arguments := to_jsonb(v_payment);
  end if;

  -- lock
  v_request := private.claim_request('record_payment_atomic', v_key, v_arguments);

  if v_request.answer is not null then
    select first_answer.*
    into
      success, payment_id, allocated_amount, total_allocated, payment_amount, unapplied_amount,
      allocation_status, applied
    from jsonb_to_record(v_request.answer) as first_answer (
      success boolean,
      payment_id uuid,
      allocated_amount numeric,
      total_allocated numeric,
      payment_amount numeric,
      unapplied_amount numeric,
      allocation_status text,
      applied jsonb
    );
    return;
  end if;

  -- check and write
  perform from public.customers as customer where customer.id = v_payment.customer_id;

  if not found and v_payment.customer_id is not null then
    raise exception using
      errcode = 'PT404',
      message = 'customer_not_found',
      detail = jsonb_build_object('customer_id', v_payment.customer_id)::text,
      hint = 'The customer does not exist or was deleted; reload the list of customers.';
  elsif
    v_payment.customer_id is null
    and num_nonnulls(v_payment.opening_balance, v_payment.invoice_ids, v_payment.sale_ids) > 0
  then
    raise exception using
      errcode = 'PT422',
      message = 'payment_without_customer',
      detail = jsonb_build_object('customer_id', null)::text,
      hint = 'Name the customer, or record the payment without allocating it.';
  end if;

  perform set_config('pymilk.call_id', v_request.call_id::text, true);

  insert into public.payments as payment (
    customer_id, amount, payment_date, payment_method, notes, period_start, period_end,
    amount_applied, amount_unapplied, allocation_status
  )
  values (
    v_payment.customer_id,
    v_payment.amount,
    coalesce(v_payment.payment_date, public.business_today()),
    v_payment.payment_method,
    v_payment.notes,
    v_payment.period_start,
    v_payment.period_end,
    0,
    v_payment.amount,
    'unapplied'
  )
  returning payment.id into payment_id;

  if v_payment.opening_balance is not null then
    perform private.allocate_to_opening_balance(
      payment_id, v_payment.customer_id, v_payment.opening_balance
    );
  end if;

  if v_payment.invoice_ids is not null then
    perform private.allocate_to_invoices(
      payment_id, v_payment.invoice_ids, v_payment.invoice_amounts, true
    );
  end if;

  if v_payment.sale_ids is not null then
    v_sale_amounts := private.allocate_to_sales(
      payment_id, v_payment.sale_ids, v_payment.sale_amounts
    );
  end if;

  perform set_config('pymilk.call_id', v_outer_call, true);

  -- return
  success := true;
  applied := private.describe_applied(
    v_payment.opening_balance, v_payment.invoice_ids, v_payment.invoice_amounts,
    v_payment.sale_ids, v_sale_amounts
  );

  select
    payment.amount_applied, payment.amount_applied, payment.amount, payment.amount_unapplied,
    payment.allocation_status
  into allocated_amount, total_allocated, payment_amount, unapplied_amount, allocation_status
  from public.payments as payment
  where payment.id = payment_id;

  if v_key is not null then
    perform private.finish_request(
      'record_payment_atomic', v_key, v_arguments, v_request.call_id,
      jsonb_build_object(
        'success', success,
        'payment_id', payment_id,
        'allocated_amount', allocated_amount,
        'total_allocated', total_allocated,
        'payment_amount', payment_amount,
        'unapplied_amount', unapplied_amount,
        'allocation_status', allocation_status,
        'applied', applied
      )
    );
  end if;
end;
$$;

comment on function public.record_payment_atomic(jsonb) is
'Records a payment with everything that it pays, all or nothing.

p_payment {"customer_id"?: uuid | null, "amount": numeric, "payment_date"?: date,
  "payment_method"?: text | null, "notes"?: text | null, "period_start"?: date | null,
  "period_end"?: date | null, "opening_balance"?: numeric, "allocations"?: [{"invoice_id": uuid,
  "amount": numeric}], "sales"?: [{"sale_id": uuid, "amount"?: numeric}]}: without a date it is
  of today
payment_id: the payment that was made
total_allocated: of the payment, by now
unapplied_amount: what is left of the payment
allocation_status payments.allocation_status
applied {"opening_balance": numeric, "invoices": [{"invoice_id": uuid, "applied": numeric}],
  "sales": [{"sale_id": uuid, "applied": numeric}]}
never null: all';

revoke all on function public.record_payment_atomic(jsonb)
from public, anon, authenticated, service_role;
grant execute on function public.record_payment_atomic(jsonb) to authenticated, service_role;
