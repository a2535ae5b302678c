-- Payments by the names that people type.
set local role authenticated;

do $$
declare
  v_customer uuid;
  v_method text;
begin
  insert into public.customers (billing_name, billing_cycle_day, opening_balance)
  values ('Used, gap 009', 5, 0)
  returning id into v_customer;
  foreach v_method in array array['gpay', 'Cheque', 'neft', 'cash'] loop
    insert into public.payments (
      customer_id, amount, payment_date, payment_method, allocation_status, amount_unapplied
    )
    values (v_customer, 1500, public.business_today(), v_method, 'unapplied', 1500);
  end loop;
end;
$$;
