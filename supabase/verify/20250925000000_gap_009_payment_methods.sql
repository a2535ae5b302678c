-- Shows that gap 009 is in effect: records and edits payments of its own with methods of every
-- spelling and amounts on both sides of the limits, and raises unless all holds.
--
-- The runner rolls it back. It runs as the owner, beside whatever data is there.

-- what the roles may do ---------------------------------------------------------------------------

do $$
declare
  v_role text;
begin
  foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
    if has_function_privilege(v_role, 'public.normalize_payment_method(text)', 'execute')
      <> (v_role <> 'anon') then
      raise exception 'gap 009: % % execute normalize_payment_method', v_role,
        case when v_role = 'anon' then 'can' else 'cannot' end;
    end if;
    if exists (
      select from pg_proc
      where pronamespace = 'private'::regnamespace
        and oid <> 'private.outside_our_triggers()'::regprocedure
        and has_function_privilege(v_role, oid, 'execute')
    ) then
      raise exception 'gap 009: % can execute functions of the schema private', v_role;
    end if;
  end loop;

  if (
    select count(*) from pg_proc
    where pronamespace = 'public'::regnamespace and proname = 'normalize_payment_method'
  ) <> 1 then
    raise exception 'gap 009: normalize_payment_method is overloaded, which the API cannot call';
  end if;
end;
$$;

-- what the function and the table hold --------------------------------------------------------------

do $$
declare
  v_customer uuid;
  v_payment uuid;
  v_case record;
  v_found text;
begin
  insert into public.customers (billing_name) values ('pymilk verify')
  returning id into v_customer;
  insert into public.payments (customer_id, amount, payment_date)
  values (v_customer, 2000, current_date)
  returning id into v_payment;

  for v_case in
    select *
    from (values
      ('cash', 'Cash'),
      (' G-Pay ', 'UPI'), ('phone_pe', 'UPI'), ('PAYTM', 'UPI'), ('bhim', 'UPI'), ('QR', 'UPI'),
      ('neft', 'Bank Transfer'), ('IMPS', 'Bank Transfer'), ('rtgs', 'Bank Transfer'),
      ('bank', 'Bank Transfer'), ('bank_transfer', 'Bank Transfer'),
      ('check', 'Cheque'), ('DD', 'Cheque'), ('cheque', 'Cheque'),
      ('net banking', 'Online'), ('ONLINE', 'Online'),
      ('debit card', 'Card'), ('Credit-Card', 'Card'),
      ('  ', null), (null, null)
    ) as spelling (said, wanted)
  loop
    set local role authenticated;
    v_found := public.normalize_payment_method(v_case.said);
    reset role;
    if v_found is distinct from v_case.wanted then
      raise exception 'gap 009: "%" became %', v_case.said, v_found;
    end if;

    insert into public.payments (customer_id, amount, payment_date, payment_method)
    values (v_customer, 2000, current_date, v_case.said)
    returning payment_method into v_found;
    if v_found is distinct from v_case.wanted then
      raise exception 'gap 009: a payment by "%" was recorded as %', v_case.said, v_found;
    end if;

    update public.payments set payment_method = v_case.said where id = v_payment
    returning payment_method into v_found;
    if v_found is distinct from v_case.wanted then
      raise exception 'gap 009: a payment edited to "%" says %', v_case.said, v_found;
    end if;
  end loop;

  -- what the table refuses, and what it takes
  for v_case in
    select *
    from (values
      ('barter', 2000, 'payments_method_known'),
      ('Cash', 50000, null), ('Cash', 50000.01, 'payments_method_within_limits'),
      ('UPI', 1, null), ('gpay', 0.99, 'payments_method_within_limits'),
      ('UPI', 100000, null), ('UPI', 100000.01, 'payments_method_within_limits'),
      ('Online', 100000, null), ('Online', 100000.01, 'payments_method_within_limits'),
      ('Card', 100000, null), ('Card', 100000.01, 'payments_method_within_limits'),
      ('Cheque', 1000, null), ('dd', 999.99, 'payments_method_within_limits'),
      ('Cheque', 1000000, null), ('Cheque', 1000000.01, 'payments_method_within_limits'),
      ('Bank Transfer', 1, null), ('neft', 0.99, 'payments_method_within_limits'),
      ('Bank Transfer', 1000000, null),
      ('Bank Transfer', 1000000.01, 'payments_method_within_limits'),
      (null, 9999999999.99, null)
    ) as payment (method, amount, rule)
  loop
    v_found := null;
    begin
      insert into public.payments (customer_id, amount, payment_date, payment_method)
      values (v_customer, v_case.amount, current_date, v_case.method);
    exception
      when check_violation then
        get stacked diagnostics v_found = constraint_name;
    end;
    if v_found is distinct from v_case.rule then
      raise exception 'gap 009: % by % was %', v_case.amount, v_case.method,
        coalesce('refused by ' || v_found, 'taken');
    end if;

    v_found := null;
    begin
      update public.payments
      set amount = v_case.amount, payment_method = v_case.method
      where id = v_payment;
    exception
      when check_violation then
        get stacked diagnostics v_found = constraint_name;
    end;
    if v_found is distinct from v_case.rule then
      raise exception 'gap 009: an edit to % by % was %', v_case.amount, v_case.method,
        coalesce('refused by ' || v_found, 'taken');
    end if;
  end loop;

  -- what the functions refuse, by their reason
  update public.payments set amount = 2000, payment_method = 'Cash' where id = v_payment;
  for v_case in
    select *
    from (values
      (1, 'payment_method_unknown'),
      (2, 'payment_method_unknown'),
      (3, 'payment_method_limit_exceeded'),
      (4, 'payment_method_limit_exceeded')
    ) as step (number, reason)
  loop
    v_found := 'nothing was refused';
    set local role authenticated;
    begin
      case v_case.number
        when 1 then
          perform public.normalize_payment_method('barter');
        when 2 then
          perform public.record_payment_atomic(
            jsonb_build_object('amount', 10, 'payment_method', 'barter')
          );
        when 3 then
          perform public.record_payment_atomic(
            jsonb_build_object('amount', 50000.01, 'payment_method', 'cash')
          );
        when 4 then
          perform public.update_payment_atomic(v_payment, 50000.01, null, 'pymilk verify');
      end case;
    exception
      when sqlstate 'PT400' or sqlstate 'PT404' or sqlstate 'PT409' or sqlstate 'PT422' then
        v_found := sqlerrm;
    end;
    reset role;
    if v_found <> v_case.reason then
      raise exception 'gap 009: instead of %: %', v_case.reason, v_found;
    end if;
  end loop;
end;
$$;
