-- What is left of a payment: noted, used up, and looked at.
set local role authenticated;

do $$
declare
  v_customer uuid;
  v_payment uuid;
  v_invoice uuid;
begin
  insert into public.customers (billing_name, billing_cycle_day, opening_balance)
  values ('Used, gap 004', 5, 0)
  returning id into v_customer;
  insert into public.payments (
    customer_id, amount, payment_date, payment_method, allocation_status, amount_unapplied
  )
  values (v_customer, 500, public.business_today(), 'Cash', 'unapplied', 500)
  returning id into v_payment;
  insert into public.invoice_metadata (
    customer_id, invoice_date, period_start, period_end, total_amount, invoice_status
  )
  values (v_customer, '2025-09-01', '2025-08-01', '2025-08-01', 300, 'sent')
  returning id into v_invoice;
  insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied)
  values (v_customer, v_payment, 500);
  perform public.allocate_payment_atomic(
    v_payment, jsonb_build_array(jsonb_build_object('invoiceId', v_invoice, 'amount', '120'))
  );
end;
$$;
