-- Payments put onto an opening balance, onto a sale, recorded in one call, and spread by rule.
set local role authenticated;

do $$
declare
  v_customer uuid;
  v_product uuid;
  v_payment uuid;
  v_third uuid;
  v_sale uuid;
  v_invoice uuid;
begin
  select p.id into v_product from public.products as p order by p.code limit 1;
  insert into public.customers (billing_name, billing_cycle_day, opening_balance)
  values ('Used, gap 005', 5, 250)
  returning id into v_customer;
  insert into public.payments (
    customer_id, amount, payment_date, payment_method, allocation_status, amount_unapplied
  )
  values (v_customer, 500, public.business_today(), 'Cash', 'unapplied', 500)
  returning id into v_payment;
  insert into public.payments (
    customer_id, amount, payment_date, payment_method, allocation_status, amount_unapplied
  )
  values (v_customer, 80, public.business_today(), 'Cash', 'unapplied', 80)
  returning id into v_third;
  insert into public.invoice_metadata (
    customer_id, invoice_date, period_start, period_end, total_amount, invoice_status
  )
  values (v_customer, '2025-09-01', '2025-08-01', '2025-08-01', 300, 'sent')
  returning id into v_invoice;
  insert into public.sales (
    customer_id, product_id, quantity, unit_price, total_amount, sale_type, payment_status, sale_date
  )
  values (v_customer, v_product, 1, 40, 40, 'Credit', 'Pending', '2025-09-11')
  returning id into v_sale;
  perform public.allocate_opening_balance_atomic(v_payment, v_customer, 200);
  perform public.allocate_payment_to_sales_atomic(
    v_payment, jsonb_build_array(jsonb_build_object('saleId', v_sale, 'amount', '40'))
  );
  perform public.record_payment_atomic(jsonb_build_object(
    'customer_id', v_customer, 'amount', '60',
    'allocations', jsonb_build_array(jsonb_build_object('invoiceId', v_invoice, 'amount', '60'))
  ));
  perform public.auto_allocate_payment(v_third);
end;
$$;
