-- What somebody owes, asked as the app does; it reads, and the customer it asks for is new.
set local role authenticated;

do $$
declare
  v_customer uuid;
  v_invoice uuid;
begin
  insert into public.customers (billing_name, billing_cycle_day, opening_balance)
  values ('Used, gap 008', 5, 70)
  returning id into v_customer;
  insert into public.invoice_metadata (
    customer_id, invoice_date, period_start, period_end, total_amount, invoice_status
  )
  values (v_customer, '2025-09-01', '2025-08-01', '2025-08-01', 300, 'sent')
  returning id into v_invoice;
  if public.calculate_customer_outstanding(v_customer) is distinct from 370 then
    raise exception 'the new customer owes 370';
  end if;
end;
$$;
