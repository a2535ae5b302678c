-- An invoice deleted, recovered, and another deleted for good.
set local role authenticated;

do $$
declare
  v_customer uuid;
  v_invoice uuid;
  v_second uuid;
begin
  insert into public.customers (billing_name, billing_cycle_day, opening_balance)
  values ('Used, gap 006', 5, 0)
  returning id into v_customer;
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
  perform public.delete_invoice_safe(v_invoice);
  perform public.recover_invoice(v_invoice);
  perform public.delete_invoice_safe(v_invoice);
  perform public.delete_invoice_safe(v_second, true);
end;
$$;
