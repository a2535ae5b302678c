-- Shows that gap 005 is in effect: makes a customer, payments and sales of its own, calls the real
-- functions as the real roles, tries what must be refused, and raises unless all holds.
--
-- The runner rolls it back. It runs as the owner, beside whatever data is there.

-- what the roles may do ---------------------------------------------------------------------------

do $$
declare
  v_function regprocedure;
  v_role text;
  v_wanted boolean;
begin
  foreach v_function in array array[
    'public.allocate_opening_balance_atomic(uuid, uuid, numeric)'::regprocedure,
    'public.allocate_payment_to_sales_atomic(uuid, jsonb)'::regprocedure,
    'public.auto_allocate_payment(uuid, text)'::regprocedure,
    'public.record_payment_atomic(jsonb)'::regprocedure
  ] loop
    foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
      v_wanted := v_role <> 'anon';
      if has_function_privilege(v_role, v_function, 'execute') <> v_wanted then
        raise exception 'gap 005: % % execute %', v_role,
          case when v_wanted then 'cannot' else 'can' end, v_function;
      end if;
    end loop;
    if (
      select count(*) from pg_proc
      where pronamespace = 'public'::regnamespace
        and proname = (select named.proname from pg_proc as named where named.oid = v_function)
    ) <> 1 then
      raise exception 'gap 005: % is overloaded, which the API cannot call', v_function;
    end if;
  end loop;

  foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
    if exists (
      select from pg_proc
      where pronamespace = 'private'::regnamespace
        and oid <> 'private.outside_our_triggers()'::regprocedure
        and has_function_privilege(v_role, oid, 'execute')
    ) then
      raise exception 'gap 005: % can execute functions of the schema private', v_role;
    end if;
    if exists (
      select from pg_class
      where relnamespace = 'private'::regnamespace
        and relkind = 'r'
        and (
          not relrowsecurity
          or has_table_privilege(v_role, oid, 'select, insert, update, delete, truncate')
        )
    ) then
      raise exception 'gap 005: % reaches tables of the schema private', v_role;
    end if;
  end loop;
end;
$$;

-- what the functions and tables hold ----------------------------------------------------------------

do $$
declare
  v_customer uuid;
  v_stranger uuid;
  v_product uuid;
  v_payment uuid;
  v_nobodys uuid;
  v_recorded uuid;
  v_invoice uuid;
  v_sale uuid;
  v_part uuid;
  v_cash uuid;
  v_billed uuid;
  v_answer record;
  v_again record;
  v_undone record;
  v_case record;
  v_reason text;
begin
  -- what the caller says of the counters is not believed
  insert into public.customers (billing_name, opening_balance, opening_balance_paid)
  values ('pymilk verify', 500, 500)
  returning id into v_customer;
  insert into public.customers (billing_name, opening_balance)
  values ('pymilk verify, another', 500)
  returning id into v_stranger;
  insert into public.products (name, code, current_price)
  values ('pymilk verify', 'pymilk verify ' || gen_random_uuid(), 50)
  returning id into v_product;
  insert into public.payments (customer_id, amount, payment_date, payment_method)
  values (v_customer, 2000, current_date, 'UPI')
  returning id into v_payment;
  insert into public.payments (amount, payment_date, payment_method)
  values (2000, current_date, 'UPI')
  returning id into v_nobodys;
  insert into public.invoice_metadata (
    customer_id, invoice_date, period_start, period_end, total_amount, invoice_status
  )
  values (v_customer, current_date, current_date, current_date, 300, 'sent')
  returning id into v_invoice;
  insert into public.sales (
    customer_id, product_id, quantity, unit_price, total_amount, sale_type, payment_status,
    amount_paid
  )
  values (v_customer, v_product, 1, 50, 50, 'Credit', 'Pending', 50)
  returning id into v_sale;
  insert into public.sales (
    customer_id, product_id, quantity, unit_price, total_amount, sale_type, payment_status
  )
  values (v_customer, v_product, 1, 70, 70, 'Credit', 'Pending')
  returning id into v_part;
  insert into public.sales (
    customer_id, product_id, quantity, unit_price, total_amount, sale_type, payment_status
  )
  values (v_customer, v_product, 1, 90, 90, 'Credit', 'Pending')
  returning id into v_billed;
  insert into public.sales (product_id, quantity, unit_price, total_amount, sale_type)
  values (v_product, 1, 50, 50, 'Cash')
  returning id into v_cash;
  insert into public.invoice_line_items (invoice_id, line_item_type, sale_id)
  values (v_invoice, 'manual_sale', v_billed);

  -- recording, as the app's role, with a key: the second time changes nothing
  set local role authenticated;
  perform set_config('pymilk.idempotency_key', 'pymilk verify ' || v_payment, true);
  for v_round in 1..2 loop
    select * into v_answer from public.record_payment_atomic(
      jsonb_build_object(
        'customer_id', v_customer,
        'amount', '1000.00',
        'payment_method', 'UPI',
        'opening_balance', 200,
        'allocations', jsonb_build_array(jsonb_build_object('invoiceId', v_invoice, 'amount', 250)),
        'sales', jsonb_build_array(jsonb_build_object('saleId', v_sale))
      )
    );
    v_recorded := coalesce(v_recorded, v_answer.payment_id);
    if (
      v_answer.payment_id, v_answer.success, v_answer.allocated_amount, v_answer.unapplied_amount,
      v_answer.allocation_status
    ) is distinct from (v_recorded, true, 500, 500, 'partially_applied') then
      raise exception 'gap 005: recording 500 of 1000 answered %, round %', v_answer, v_round;
    end if;
  end loop;

  reset role;
  if (
    select (customer.opening_balance_paid, sale.amount_paid, sale.payment_status)
      is distinct from (200, 50, 'Completed')
    from public.customers as customer
    inner join public.sales as sale on customer.id = sale.customer_id
    where customer.id = v_customer and sale.id = v_sale
  ) then
    raise exception 'gap 005: the opening balance and the sale did not follow what paid them';
  end if;

  -- undone by its key, as a whole; the payment stays
  set local role authenticated;
  select * into v_undone from public.rollback_partial_allocation(v_recorded);
  perform set_config('pymilk.idempotency_key', '', true);
  reset role;
  if (v_undone.removed_amount, v_undone.payment_reset_to_unapplied) is distinct from (500, true)
    or exists (
      select
      from public.customers as customer
      inner join public.sales as sale on customer.id = sale.customer_id
      where customer.id = v_customer
        and sale.id = v_sale
        and (customer.opening_balance_paid, sale.amount_paid, sale.payment_status)
        is distinct from (0, 0, 'Pending')
    ) then
    raise exception 'gap 005: undoing a recorded payment answered %', v_undone;
  end if;

  -- each by itself, as the back office's role
  set local role service_role;
  select * into v_answer
  from public.allocate_opening_balance_atomic(v_payment, v_customer, 300);
  select * into v_again
  from public.allocate_opening_balance_atomic(v_payment, v_customer, 100);
  if (
    v_answer.opening_balance_remaining, v_again.allocated_amount, v_again.total_allocated,
    v_again.unapplied_amount, v_again.opening_balance_remaining
  ) is distinct from (200, 100, 400, 1600, 100) then
    raise exception 'gap 005: paying the opening balance answered %, then %', v_answer, v_again;
  end if;

  select * into v_answer from public.allocate_payment_to_sales_atomic(
    v_payment, jsonb_build_array(jsonb_build_object('sale_id', v_sale, 'amount', '50.0'))
  );
  if (v_answer.allocated_amount, v_answer.total_allocated) is distinct from (50, 450) then
    raise exception 'gap 005: paying a sale answered %', v_answer;
  end if;

  select * into v_answer from public.auto_allocate_payment(v_payment);
  if (v_answer.allocated_amount, v_answer.total_allocated) is distinct from (400, 850) then
    raise exception 'gap 005: allocating by itself answered %', v_answer;
  end if;

  -- refusals, by their reason
  set local role authenticated;
  for v_case in
    select refused.*
    from (values
      ('opening', v_payment, v_customer, null, 'amount_required'),
      ('opening', v_payment, v_customer, 'NaN', 'amount_invalid'),
      ('opening', v_payment, v_customer, '0.001', 'amount_invalid'),
      ('opening', v_payment, v_customer, '0.01', 'allocation_exceeds_opening_balance'),
      ('opening', v_payment, v_stranger, '1', 'customer_mismatch'),
      ('opening', v_nobodys, v_stranger, '1', 'payment_without_customer'),
      ('opening', v_recorded, v_customer, '1000.01', 'allocation_exceeds_payment'),
      ('opening', v_payment, gen_random_uuid(), '1', 'customer_not_found'),
      ('opening', gen_random_uuid(), v_customer, '1', 'payment_not_found'),
      ('sale', v_payment, v_sale, null, 'sale_already_paid'),
      ('sale', v_payment, v_part, '69.99', 'sale_paid_whole'),
      ('sale', v_payment, v_cash, null, 'sale_not_payable'),
      ('sale', v_payment, v_billed, null, 'sale_billed'),
      ('sale', v_payment, gen_random_uuid(), null, 'sale_not_found'),
      ('auto', v_payment, null, 'newest_first', 'strategy_unknown'),
      ('record', null, v_customer, '{"amount": "NaN"}', 'amount_invalid'),
      ('record', null, v_customer, '{"amount": 1, "amuont": 1}', 'payment_key_unknown'),
      ('record', null, v_customer, '{"amount": 1, "payment_date": "2025-02-30"}', 'date_invalid'),
      (
        'record', null, v_customer, '{"amount": 5, "opening_balance": 6}',
        'allocation_exceeds_payment'
      )
    ) as refused (what, payment_id, target_id, given, reason)
  loop
    v_reason := 'nothing was refused';
    begin
      case v_case.what
        when 'opening' then
          perform public.allocate_opening_balance_atomic(
            v_case.payment_id, v_case.target_id, v_case.given::numeric
          );
        when 'sale' then
          perform public.allocate_payment_to_sales_atomic(
            v_case.payment_id,
            jsonb_build_array(
              jsonb_build_object('saleId', v_case.target_id, 'amount', v_case.given)
            )
          );
        when 'auto' then
          perform public.auto_allocate_payment(v_case.payment_id, v_case.given);
        when 'record' then
          perform public.record_payment_atomic(
            v_case.given::jsonb || jsonb_build_object('customer_id', v_case.target_id)
          );
      end case;
    exception
      when sqlstate 'PT400' or sqlstate 'PT404' or sqlstate 'PT409' or sqlstate 'PT422' then
        v_reason := sqlerrm;
    end;
    if v_reason <> v_case.reason then
      raise exception 'gap 005: instead of %: %', v_case.reason, v_reason;
    end if;
  end loop;
  reset role;

  -- direct writes
  update public.opening_balance_payments set amount = 400
  where payment_id = v_payment;
  for v_case in
    select step.*
    from (values
      (1, 'customers_paid_within_opening_balance', 'paying an opening balance beyond what it is'),
      (2, 'customers_paid_within_opening_balance', 'a balance below what is paid'),
      (3, 'customers_opening_balance_valid', 'an opening balance of NaN'),
      (4, 'opening_balance_payments_same_customer', 'a stranger''s opening balance'),
      (5, 'sales_payments_whole', 'a part of a sale'),
      (6, 'sales_payments_whole', 'a sale paid twice'),
      (7, 'sales_payments_unbilled', 'a billed sale'),
      (8, 'sales_payments_credit_only', 'a Cash sale'),
      (9, 'sales_paid_total_fixed', 'another total of a paid sale'),
      (10, 'sales_paid_customer_fixed', 'another customer of a paid sale'),
      (11, 'sales_total_valid', 'a sale of 0.001'),
      (12, 'invoice_line_items_sale_unpaid', 'billing a paid sale'),
      (13, 'settlement_journal_append_only', 'an edit of the journal')
    ) as step (number, rule, what)
  loop
    v_reason := 'nothing';
    begin
      case v_case.number
        when 1 then
          insert into public.opening_balance_payments (payment_id, customer_id, amount)
          values (v_recorded, v_customer, 100.01);
        when 2 then
          update public.customers set opening_balance = 399.99 where id = v_customer;
        when 3 then
          update public.customers set opening_balance = 'NaN' where id = v_customer;
        when 4 then
          insert into public.opening_balance_payments (payment_id, customer_id, amount)
          values (v_recorded, v_stranger, 1);
        when 5 then
          insert into public.sales_payments (payment_id, sales_id, amount_allocated)
          values (v_recorded, v_part, 69.99);
        when 6 then
          insert into public.sales_payments (payment_id, sales_id, amount_allocated)
          values (v_recorded, v_sale, 50);
        when 7 then
          insert into public.sales_payments (payment_id, sales_id, amount_allocated)
          values (v_recorded, v_billed, 90);
        when 8 then
          insert into public.sales_payments (payment_id, sales_id, amount_allocated)
          values (v_recorded, v_cash, 50);
        when 9 then
          update public.sales set total_amount = 51 where id = v_sale;
        when 10 then
          update public.sales set customer_id = v_stranger where id = v_sale;
        when 11 then
          update public.sales set total_amount = 0.001 where id = v_part;
        when 12 then
          insert into public.invoice_line_items (invoice_id, line_item_type, sale_id)
          values (v_invoice, 'manual_sale', v_sale);
        when 13 then
          update private.settlement_journal set reason = 'x' where payment_id = v_payment;
      end case;
    exception
      when check_violation then
        get stacked diagnostics v_reason = constraint_name;
    end;
    if v_reason <> v_case.rule then
      raise exception 'gap 005: % was refused by %', v_case.what, v_reason;
    end if;
  end loop;

  -- the app's words are taken where they count, and not believed where they don't
  update public.customers set opening_balance_paid = 0 where id = v_customer;
  update public.sales set amount_paid = 0, payment_status = 'Pending' where id = v_sale;
  update public.sales set payment_status = 'Pending' where id = v_billed;
  if (
    select array_agg(
      (customer.opening_balance_paid, sale.amount_paid, sale.payment_status)::text
      order by sale.total_amount
    )
    from public.customers as customer
    inner join public.sales as sale on customer.id = sale.customer_id
    where customer.id = v_customer
  ) is distinct from array['(400,50,Completed)', '(400,0,Pending)', '(400,0,Completed)'] then
    raise exception 'gap 005: counters or statuses were overwritten';
  end if;

  delete from public.opening_balance_payments where payment_id = v_payment;
  delete from public.sales_payments where payment_id = v_payment;
  if (
    select (customer.opening_balance_paid, sale.amount_paid, sale.payment_status)
      is distinct from (0, 0, 'Pending')
    from public.customers as customer
    inner join public.sales as sale on customer.id = sale.customer_id
    where customer.id = v_customer and sale.id = v_sale
  ) then
    raise exception 'gap 005: taking payments off is not counted';
  end if;

  if (
    select sum(journal.amount_change)
    from private.settlement_journal as journal
    where journal.payment_id in (v_payment, v_recorded)
  ) is distinct from 0 then
    raise exception 'gap 005: the journal does not say what happened';
  end if;
end;
$$;
