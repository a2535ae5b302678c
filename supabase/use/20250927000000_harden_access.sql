-- The back office corrects a customer; what the app does is in the workloads before this one.
set local role service_role;

do $$
declare
  v_customer uuid;
begin
  insert into public.customers (billing_name) values ('Used, hardened')
  returning id into v_customer;
  update public.customers set contact_person = 'the office' where id = v_customer;
end;
$$;
