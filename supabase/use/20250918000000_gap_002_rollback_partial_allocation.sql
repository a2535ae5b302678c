-- An allocation taken off again, another undone, and a payment voided.
set local role authenticated;

do $$
declare
  v_customer uuid;
  v_payment uuid;
  v_voided uuid;
  v_invoice uuid;
  v_second uuid;
begin
  insert into public.customers (billing_name, billing_cycle_day, opening_balance)
  values ('Used, gap 002', 5, 0)
  returning id into v_customer;
  insert into public.payments (
    customer_id, amount, payment_date, payment_method, allocation_status, amount_unapplied
  )
  values (v_customer, 500, public.business_today(), 'Cash', 'unapplied', 500)
  returning id into v_payment;
  insert into public.payments (
    customer_id, amount, payment_date, payment_method, allocation_status, amount_unapplied
  )
  values (v_customer, 90, public.business_today(), 'Cash', 'unapplied', 90)
  returning id into v_voided;
  insert into public.invoice_metadata (
    customer_id, invoice_date, period_start, period_end, total_amount, invoice_status
  )
  values (v_customer, '2025-09-01', '2025-08-01', '2025-08-01', 300, 'sent')
  returning id into v_invoice;
  insert into public.invoice_metadata (
    customer_id, invoice_date, period_start, period_end, total_amount, invoice_status
  )
  values (v_customer, '2025-09-01', '2025-08-02', '2025-08-02', 400, 'sent')
  returning id into v_second;
  perform public.allocate_payment_atomic(
    v_payment, jsonb_build_array(jsonb_build_object('invoiceId', v_invoice, 'amount', '300'), jsonb_build_object('invoiceId', v_second, 'amount', '50'))
  );
  perform public.allocate_payment_atomic(
    v_voided, jsonb_build_array(jsonb_build_object('invoiceId', v_second, 'amount', '90'))
  );
  perform public.unallocate_payment(v_payment, array[v_invoice], 'booked on the wrong invoice');
  perform public.void_payment(v_voided, 'the cheque came back');
end;
$$;
