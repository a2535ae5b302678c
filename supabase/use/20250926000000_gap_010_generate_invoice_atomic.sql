-- Two periods of one customer billed, one after the other.
set local role authenticated;

do $$
declare
  v_customer uuid;
  v_product uuid;
begin
  select p.id into v_product from public.products as p order by p.code limit 1;
  insert into public.customers (billing_name, billing_cycle_day, opening_balance)
  values ('Used, gap 010', 5, 0)
  returning id into v_customer;
  insert into public.sales (
    customer_id, product_id, quantity, unit_price, total_amount, sale_type, payment_status, sale_date
  )
  values
    (v_customer, v_product, 2, 40, 80, 'Credit', 'Pending', '2025-07-11'),
    (v_customer, v_product, 1, 40, 40, 'Credit', 'Pending', '2025-08-11');
  perform public.generate_invoice_atomic(v_customer, '2025-07-01', '2025-07-31');
  perform public.generate_invoice_atomic(v_customer, '2025-08-01', '2025-08-31');
end;
$$;
