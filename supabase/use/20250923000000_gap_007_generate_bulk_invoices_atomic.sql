-- A month billed in bulk for one customer, with its entry in the log.
set local role authenticated;

do $$
declare
  v_customer uuid;
  v_product uuid;
begin
  select p.id into v_product from public.products as p order by p.code limit 1;
  insert into public.customers (billing_name, billing_cycle_day, opening_balance)
  values ('Used, gap 007', 5, 0)
  returning id into v_customer;
  insert into public.sales (
    customer_id, product_id, quantity, unit_price, total_amount, sale_type, payment_status, sale_date
  )
  values (v_customer, v_product, 2, 40, 80, 'Credit', 'Pending', '2025-08-11');
  perform public.log_bulk_operation('generate_invoices', '{"month": 8}');
  perform public.generate_bulk_invoices_atomic('2025-08-01', '2025-08-31', array[v_customer]);
end;
$$;
