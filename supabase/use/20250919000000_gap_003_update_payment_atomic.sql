-- A payment whose amount and allocations are changed, by the function and by the app.
set local role authenticated;

do $$
declare
  v_customer uuid;
  v_payment uuid;
  v_invoice uuid;
begin
  insert into public.customers (billing_name, billing_cycle_day, opening_balance)
  values ('Used, gap 003', 5, 0)
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
  perform public.allocate_payment_atomic(
    v_payment, jsonb_build_array(jsonb_build_object('invoiceId', v_invoice, 'amount', '300'))
  );
  perform public.update_payment_atomic(
    v_payment, 450, jsonb_build_array(jsonb_build_object('invoiceId', v_invoice, 'amount', '250')), 'typed wrongly'
  );
  update public.payments set notes = 'at the door', updated_at = now() where id = v_payment;
end;
$$;
