-- Shows that gap 010 is in effect: makes customers and deliveries of its own, invoices them and
-- takes numbers as the real roles, tries what must be refused, and raises unless all holds.
--
-- The runner rolls it back, the numbers that it takes with it. It runs as the owner, beside whatever
-- data is there.

-- what the roles may do ---------------------------------------------------------------------------

do $$
declare
  v_function regprocedure;
  v_role text;
begin
  foreach v_function in array array[
    'public.generate_invoice_atomic(uuid, date, date)'::regprocedure,
    'public.next_invoice_number(text)'::regprocedure,
    'public.get_next_invoice_sequence(text)'::regprocedure
  ] loop
    foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
      if has_function_privilege(v_role, v_function, 'execute') <> (v_role <> 'anon') then
        raise exception 'gap 010: % % execute %', v_role,
          case when v_role = 'anon' then 'can' else 'cannot' end, v_function;
      end if;
    end loop;
    if (
      select count(*) from pg_proc
      where pronamespace = 'public'::regnamespace
        and proname = (select named.proname from pg_proc as named where named.oid = v_function)
    ) <> 1 then
      raise exception 'gap 010: % is overloaded, which the API cannot call', v_function;
    end if;
  end loop;

  if (
    select prorettype::regtype from pg_proc
    where oid = 'public.get_next_invoice_sequence(text)'::regprocedure
  ) <> 'integer'::regtype then
    raise exception 'gap 010: get_next_invoice_sequence no longer gives the app its integer';
  end if;

  foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
    if has_table_privilege(
      v_role, 'public.invoice_counters', 'insert, update, delete, truncate'
    ) then
      raise exception 'gap 010: % writes the counters by itself', v_role;
    end if;
    if exists (
      select from pg_proc
      where pronamespace = 'private'::regnamespace
        and oid <> 'private.outside_our_triggers()'::regprocedure
        and has_function_privilege(v_role, oid, 'execute')
    ) then
      raise exception 'gap 010: % can execute functions of the schema private', v_role;
    end if;
  end loop;

  if not (
    select relrowsecurity from pg_class where oid = 'public.invoice_counters'::regclass
  ) then
    raise exception 'gap 010: row level security is off on invoice_counters';
  end if;
end;
$$;

-- what the functions and tables hold ----------------------------------------------------------------

do $$
declare
  v_year text := '208990'; -- nobody has numbers there yet, and nothing of this stays
  v_product uuid;
  v_route uuid;
  v_customer uuid;
  v_other uuid;
  v_again record;
  v_made uuid;
  v_number text;
  v_invoice uuid;
  v_case record;
  v_reason text;
  v_rule text;
begin
  insert into public.routes (name) values ('pymilk verify') returning id into v_route;
  insert into public.products (name, code, current_price)
  values ('pymilk verify', 'pymilk ' || gen_random_uuid(), 62) returning id into v_product;
  insert into public.customers (billing_name, billing_cycle_day) values ('pymilk verify', 5)
  returning id into v_customer;
  insert into public.customers (billing_name) values ('pymilk verify, another')
  returning id into v_other;
  insert into public.deliveries (
    customer_id, product_id, route_id, order_date, actual_quantity, unit_price, total_amount,
    delivery_status
  )
  select v_customer, v_product, v_route, date '2025-09-01' + day, 1.5, 62, 93, 'delivered'
  from generate_series(0, 29) as day
  union all
  select v_other, v_product, v_route, '2025-09-01', 1.5, 62, 94, 'delivered';

  -- one invoice, as the app's role, with a key: the second time changes nothing
  set local role authenticated;
  perform set_config('pymilk.idempotency_key', 'pymilk verify ' || v_customer, true);
  for v_round in 1..2 loop
    select * into v_again
    from public.generate_invoice_atomic(v_customer, '2025-09-01', '2025-09-30');
    if (v_again.success, v_again.total_amount, v_again.line_items, v_again.due_date)
      is distinct from (true, 2790, 30, '2025-10-05'::date)
      or v_again.invoice_id <> coalesce(v_made, v_again.invoice_id) then
      raise exception 'gap 010: invoicing answered %, round %', v_again, v_round;
    end if;
    v_made := v_again.invoice_id;
  end loop;
  perform set_config('pymilk.idempotency_key', '', true);

  -- refusals, by their reason
  for v_case in
    select *
    from (values
      (v_customer, '2025-09-30'::date, '2025-10-31'::date, 'already_invoiced'),
      (v_customer, '2025-10-01', '2025-10-31', 'nothing_to_bill'),
      (v_customer, '2025-10-31', '2025-10-01', 'period_invalid'),
      (v_customer, '2025-10-01', null, 'period_required'),
      (v_other, '2025-09-01', '2025-09-30', 'delivery_invalid'),
      (null, '2025-09-01', '2025-09-30', 'customer_required'),
      (gen_random_uuid(), '2025-09-01', '2025-09-30', 'customer_not_found')
    ) as refused (customer_id, period_start, period_end, reason)
  loop
    v_reason := 'nothing was refused';
    begin
      perform public.generate_invoice_atomic(
        v_case.customer_id, v_case.period_start, v_case.period_end
      );
    exception
      when sqlstate 'PT400' or sqlstate 'PT404' or sqlstate 'PT409' or sqlstate 'PT422' then
        v_reason := sqlerrm;
    end;
    if v_reason <> v_case.reason then
      raise exception 'gap 010: instead of %: %', v_case.reason, v_reason;
    end if;
  end loop;

  -- numbers: each caller another, and none that the app wrote itself
  if public.next_invoice_number(v_year) <> v_year || '00001'
    or public.get_next_invoice_sequence(v_year) <> 2 then
    raise exception 'gap 010: the first numbers of a year are not 1 and 2';
  end if;
  reset role;
  insert into public.invoice_metadata (
    customer_id, invoice_date, period_start, period_end, total_amount, invoice_number,
    invoice_status
  )
  values (
    v_other, '2025-10-01', '2025-10-01', '2025-10-31', 10, v_year || '00007', 'cancelled'
  )
  returning id into v_invoice;
  set local role service_role;
  v_number := public.next_invoice_number(v_year);
  if v_number <> v_year || '00008' then
    raise exception 'gap 010: after number 7 came %', v_number;
  end if;
  reset role;
  update public.invoice_metadata set invoice_number = v_year || '99999' where id = v_invoice;
  set local role authenticated;
  for v_case in
    select *
    from (values
      (v_year, 'invoice_numbers_exhausted'),
      ('202527', 'financial_year_invalid'),
      (null, 'financial_year_invalid')
    ) as refused (year, reason)
  loop
    v_reason := 'nothing was refused';
    begin
      perform public.next_invoice_number(v_case.year);
    exception
      when sqlstate 'PT400' or sqlstate 'PT409' then
        v_reason := sqlerrm;
    end;
    if v_reason <> v_case.reason then
      raise exception 'gap 010: instead of %: %', v_case.reason, v_reason;
    end if;
  end loop;
  reset role;

  -- direct writes: an overlap, by insert and by update, and a reversed period
  for v_case in
    select step.*
    from (values
      (1, 'invoice_metadata_no_overlap'),
      (2, 'invoice_metadata_no_overlap'),
      (3, 'invoice_metadata_no_overlap'),
      (4, 'invoice_metadata_period_valid'),
      (5, 'invoice_metadata_period_valid')
    ) as step (number, rule)
  loop
    v_rule := 'nothing was refused';
    begin
      case v_case.number
        when 1 then
          insert into public.invoice_metadata (
            customer_id, invoice_date, period_start, period_end, total_amount
          )
          values (v_customer, '2025-10-01', '2025-09-30', '2025-10-31', 10);
        when 2 then
          update public.invoice_metadata
          set customer_id = v_customer, period_start = '2025-09-15', invoice_status = 'sent'
          where id = v_invoice;
        when 3 then
          insert into public.invoice_metadata (
            customer_id, invoice_date, period_start, period_end, total_amount
          )
          select v_other, '2025-10-01', '2025-11-01', '2025-11-30', 10
          from generate_series(1, 2);
        when 4 then
          insert into public.invoice_metadata (
            customer_id, invoice_date, period_start, period_end, total_amount
          )
          values (v_other, '2025-10-01', '2025-12-31', '2025-12-01', 10);
        when 5 then
          update public.invoice_metadata set period_end = '2025-01-01' where id = v_invoice;
      end case;
    exception
      when check_violation then
        get stacked diagnostics v_rule = constraint_name;
    end;
    if v_rule <> v_case.rule then
      raise exception 'gap 010: direct write % met %', v_case.number, v_rule;
    end if;
  end loop;
end;
$$;
