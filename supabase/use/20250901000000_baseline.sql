-- What the app does all day, by its own statements: an order, its delivery, a sale on credit, an
-- invoice, a payment that is put onto it by hand.
set local role authenticated;

do $$
declare
  v_customer uuid;
  v_product uuid;
  v_route uuid;
  v_order uuid;
  v_invoice uuid;
  v_payment uuid;
begin
  select p.id into v_product from public.products as p order by p.code limit 1;
  select r.id into v_route from public.routes as r order by r.name limit 1;
  insert into public.customers (billing_name, billing_cycle_day, opening_balance)
  values ('Used, by hand', 5, 120)
  returning id into v_customer;

  insert into public.daily_orders (
    customer_id, product_id, route_id, order_date, planned_quantity, unit_price, total_amount
  )
  values (v_customer, v_product, v_route, '2025-09-10', 2, 30, 60)
  returning id into v_order;
  insert into public.deliveries (
    daily_order_id, customer_id, product_id, route_id, order_date, planned_quantity, actual_quantity,
    unit_price, total_amount, delivery_status
  )
  values (
    v_order, v_customer, v_product, v_route, '2025-09-10', 2, 2, 30, 60, 'delivered'
  );
  insert into public.sales (
    customer_id, product_id, quantity, unit_price, total_amount, sale_type, payment_status, sale_date
  )
  values (v_customer, v_product, 1, 45, 45, 'Credit', 'Pending', '2025-09-11');
  insert into public.sales (product_id, quantity, unit_price, total_amount, sale_type, sale_date)
  values (v_product, 1, 45, 45, 'Cash', '2025-09-11');

  insert into public.invoice_metadata (
    customer_id, invoice_date, period_start, period_end, total_amount, invoice_status
  )
  values (v_customer, '2025-09-01', '2025-08-20', '2025-08-20', 300, 'sent')
  returning id into v_invoice;
  insert into public.payments (
    customer_id, amount, payment_date, payment_method, allocation_status, amount_unapplied
  )
  values (v_customer, 500, '2025-09-12', 'Cash', 'unapplied', 500)
  returning id into v_payment;
  insert into public.invoice_payments (invoice_id, payment_id, amount_allocated)
  values (v_invoice, v_payment, 300);
  update public.invoice_metadata
  set amount_paid = 300, amount_outstanding = 0, invoice_status = 'paid',
    last_payment_date = '2025-09-12'
  where id = v_invoice;
  update public.payments
  set amount_applied = 300, amount_unapplied = 200, allocation_status = 'partially_applied'
  where id = v_payment;
  insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied)
  values (v_customer, v_payment, 200);
end;
$$;
