-- Shows that gap 007 is in effect: makes customers, deliveries and sales of its own, previews,
-- invoices and deletes them as the real roles, tries what must be refused, and raises unless all
-- holds.
--
-- The runner rolls it back. It runs as the owner, beside whatever data is there.

-- what the roles may do ---------------------------------------------------------------------------

do $$
declare
  v_function record;
  v_role text;
  v_wanted boolean;
begin
  for v_function in
    select listed.signature::regprocedure as oid, listed.staff
    from (values
      ('public.generate_bulk_invoices_atomic(date, date, uuid[], boolean)', true),
      ('public.preview_bulk_invoices(date, date, uuid[])', true),
      ('public.delete_bulk_invoices_safe(uuid[], boolean)', false),
      ('public.log_bulk_operation(text, jsonb)', true),
      ('public.update_bulk_operation_status(uuid, text, jsonb, text)', true)
    ) as listed (signature, staff)
  loop
    foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
      v_wanted := v_role = 'service_role' or (v_role = 'authenticated' and v_function.staff);
      if has_function_privilege(v_role, v_function.oid, 'execute') <> v_wanted then
        raise exception 'gap 007: % % execute %', v_role,
          case when v_wanted then 'cannot' else 'can' end, v_function.oid::regprocedure;
      end if;
    end loop;
    if (
      select count(*) from pg_proc
      where pronamespace = 'public'::regnamespace
        and proname = (select named.proname from pg_proc as named where named.oid = v_function.oid)
    ) <> 1 then
      raise exception 'gap 007: % is overloaded, which the API cannot call',
        v_function.oid::regprocedure;
    end if;
  end loop;

  foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
    if has_table_privilege(
      v_role, 'public.bulk_operation_logs', 'insert, update, delete, truncate'
    ) then
      raise exception 'gap 007: % writes the log of bulk runs by itself', v_role;
    end if;
    if has_table_privilege(v_role, 'public.bulk_operation_logs', 'select')
      <> (v_role <> 'anon') then
      raise exception 'gap 007: who reads the log of bulk runs is not as it should be: %', v_role;
    end if;
    if exists (
      select from pg_proc
      where pronamespace = 'private'::regnamespace
        and oid <> 'private.outside_our_triggers()'::regprocedure
        and has_function_privilege(v_role, oid, 'execute')
    ) then
      raise exception 'gap 007: % can execute functions of the schema private', v_role;
    end if;
  end loop;

  if not (
    select relrowsecurity from pg_class where oid = 'public.bulk_operation_logs'::regclass
  ) then
    raise exception 'gap 007: row level security is off on bulk_operation_logs';
  end if;
end;
$$;

-- what the functions hold -------------------------------------------------------------------------

do $$
declare
  v_product uuid;
  v_route uuid;
  v_customers uuid[];
  v_sale uuid;
  v_answer record;
  v_again record;
  v_log record;
  v_case record;
  v_reason text;
  v_invoices bigint;
begin
  insert into public.routes (name) values ('pymilk verify') returning id into v_route;
  insert into public.products (name, code, current_price, gst_rate)
  values ('pymilk verify', 'pymilk ' || gen_random_uuid(), 62, 5) returning id into v_product;
  with made as (
    insert into public.customers (billing_name, billing_cycle_day)
    select 'pymilk verify ' || number, 31
    from generate_series(1, 4) as number
    returning id, billing_name
  )

  select array_agg(made.id order by made.billing_name) into v_customers
  from made;

  -- the first two have a month and the first a sale, the third's delivery does not add up, the
  -- fourth has nothing
  insert into public.deliveries (
    customer_id, product_id, route_id, order_date, actual_quantity, unit_price, total_amount,
    delivery_status
  )
  select v_customers[number], v_product, v_route, date '2025-09-01' + day, 1.5, 62, 93, 'delivered'
  from generate_series(1, 2) as number
  cross join generate_series(0, 29) as day
  union all
  select v_customers[3], v_product, v_route, '2025-09-01', 1.5, 62, 92, 'delivered'
  union all
  select v_customers[1], v_product, v_route, '2025-09-01', 1.5, 62, 93, 'pending'
  union all
  select v_customers[1], v_product, v_route, '2025-10-01', 1.5, 62, 93, 'delivered';
  insert into public.sales (
    customer_id, product_id, quantity, unit_price, total_amount, gst_amount, sale_type, sale_date,
    payment_status
  )
  values (v_customers[1], v_product, 1, 105, 105, 5, 'Credit', '2025-09-10', 'Pending')
  returning id into v_sale;

  -- the log and the preview, as the app's role
  set local role authenticated;
  select * into v_log
  from public.log_bulk_operation('pymilk verify', '{"period": "2025-09"}');
  if v_log.status is distinct from 'running' then
    raise exception 'gap 007: the log of a run that begins says %', v_log;
  end if;
  select
    count(*) filter (where planned.outcome = 'invoiced') as invoices,
    count(*) filter (where planned.outcome <> 'invoiced' and planned.reason is not null) as others,
    sum(planned.total_amount) as total
  into v_answer
  from public.preview_bulk_invoices('2025-09-01', '2025-09-30', v_customers) as planned;
  if (v_answer.invoices, v_answer.others, v_answer.total)
    is distinct from (2::bigint, 2::bigint, 5685) then
    raise exception 'gap 007: the preview says %', v_answer;
  end if;
  reset role;
  if exists (select from public.invoice_metadata where customer_id = any(v_customers)) then
    raise exception 'gap 007: the preview wrote invoices';
  end if;

  -- the run, with a key: the second time changes nothing
  set local role authenticated;
  perform set_config('pymilk.idempotency_key', 'pymilk verify ' || v_customers[1], true);
  for v_round in 1..2 loop
    select * into v_answer
    from public.generate_bulk_invoices_atomic('2025-09-01', '2025-09-30', v_customers, true);
    if (v_answer.success, v_answer.invoices_created, v_answer.skipped, v_answer.total_amount)
      is distinct from (true, 2, 2, 5685) then
      raise exception 'gap 007: the run answered %, round %', v_answer, v_round;
    end if;
  end loop;
  perform set_config('pymilk.idempotency_key', '', true);
  select * into v_log
  from public.update_bulk_operation_status(v_log.id, 'completed', v_answer.outcomes);
  if (v_log.status, v_log.succeeded, v_log.failed) is distinct from ('completed', 2, 2) then
    raise exception 'gap 007: the log of a finished run says %', v_log;
  end if;
  reset role;

  if (
    select array_agg(outcome.value ->> 'outcome' order by named.position)
    from unnest(v_customers) with ordinality as named (id, position)
    inner join jsonb_array_elements(v_answer.outcomes) as outcome (value)
      on named.id = (outcome.value ->> 'customer_id')::uuid
  ) is distinct from array['invoiced', 'invoiced', 'invalid_delivery', 'nothing_to_bill'] then
    raise exception 'gap 007: the outcomes are %', v_answer.outcomes;
  end if;
  if exists (
    select
    from public.invoice_metadata as invoice
    where invoice.customer_id = any(v_customers)
      and (
        invoice.total_amount <> invoice.subscription_amount + invoice.manual_sales_amount
        or invoice.total_amount <> (
          select sum(line.line_total) from public.invoice_line_items as line
          where line.invoice_id = invoice.id
        )
        or invoice.due_date <> '2025-10-31'
        or invoice.invoice_date <> public.business_today()
        or invoice.invoice_status not in ('sent', 'overdue')
        or invoice.invoice_number !~ '^[0-9]{11}$'
      )
  ) then
    raise exception 'gap 007: an invoice does not say what it should';
  end if;
  if (select payment_status from public.sales where id = v_sale) <> 'Billed' then
    raise exception 'gap 007: a billed sale does not say so';
  end if;
  if (
    select invoice.gst_amount from public.invoice_metadata as invoice
    where invoice.customer_id = v_customers[1]
  ) <> 5 then
    raise exception 'gap 007: the GST of a sale is not on its invoice';
  end if;

  -- refusals, by their reason; nothing of them stays
  select count(*) into v_invoices from public.invoice_metadata;
  for v_case in
    select *
    from (values
      ('2025-09-30'::date, '2025-10-31'::date, v_customers[1:2], 'already_invoiced'),
      ('2025-09-30', '2025-09-01', v_customers, 'period_invalid'),
      (null, '2025-09-30', v_customers, 'period_required'),
      ('2025-10-01', 'infinity', v_customers, 'period_invalid'),
      ('2025-10-01', '2025-10-31', '{}', 'customers_empty'),
      ('2025-10-01', '2025-10-31', array[null::uuid], 'customer_required'),
      ('2025-10-01', '2025-10-31', v_customers || gen_random_uuid(), 'customer_not_found')
    ) as refused (period_start, period_end, customer_ids, reason)
  loop
    v_reason := 'nothing was refused';
    begin
      set local role authenticated;
      perform public.generate_bulk_invoices_atomic(
        v_case.period_start, v_case.period_end, v_case.customer_ids
      );
    exception
      when sqlstate 'PT400' or sqlstate 'PT404' or sqlstate 'PT409' then
        v_reason := sqlerrm;
    end;
    reset role;
    if v_reason <> v_case.reason then
      raise exception 'gap 007: instead of %: %', v_case.reason, v_reason;
    end if;
  end loop;
  if (select count(*) from public.invoice_metadata) <> v_invoices then
    raise exception 'gap 007: a refused run left invoices';
  end if;

  -- skipped and reported, as the back office's role
  set local role service_role;
  select * into v_again
  from public.generate_bulk_invoices_atomic('2025-09-30', '2025-10-31', v_customers[1:2], false);
  if (v_again.invoices_created, v_again.skipped) is distinct from (0, 2) then
    raise exception 'gap 007: a run over invoiced customers answered %', v_again;
  end if;
  -- a day that was invoiced already and is confirmed now goes onto the next invoice
  reset role;
  update public.deliveries set actual_quantity = 1.5, delivery_status = 'delivered'
  where customer_id = v_customers[1] and delivery_status = 'pending';
  set local role service_role;
  select * into v_again
  from public.generate_bulk_invoices_atomic('2025-10-01', '2025-10-31', v_customers[1:2]);
  if (v_again.invoices_created, v_again.total_amount) is distinct from (1, 186) then
    raise exception 'gap 007: the month after answered %', v_again;
  end if;

  -- no amount that is no number, and a sale is dated by the dairy's day
  reset role;
  for v_case in
    select *
    from (values
      (1, 'deliveries_total_valid'),
      (2, 'invoice_line_items_price_valid'),
      (3, 'products_price_valid')
    ) as refused (number, reason)
  loop
    v_reason := 'nothing was refused';
    begin
      case v_case.number
        when 1 then
          update public.deliveries set total_amount = 0.001 where customer_id = v_customers[3];
        when 2 then
          update public.invoice_line_items as line set unit_price = 'NaN'
          from public.invoice_metadata as invoice
          where line.invoice_id = invoice.id and invoice.customer_id = v_customers[1];
        when 3 then
          update public.products set current_price = 'Infinity' where id = v_product;
      end case;
    exception
      when check_violation then
        get stacked diagnostics v_reason = constraint_name;
    end;
    if v_reason <> v_case.reason then
      raise exception 'gap 007: instead of %: %', v_case.reason, v_reason;
    end if;
  end loop;
  if (
    select pg_get_expr(adbin, adrelid)
    from pg_attrdef
    where adrelid = 'public.sales'::regclass
      and adnum = (
        select attnum from pg_attribute
        where attrelid = 'public.sales'::regclass and attname = 'sale_date'
      )
  ) not like '%business_today()' then
    raise exception 'gap 007: a sale is dated by the server''s day';
  end if;
  set local role service_role;

  -- deleting them again
  select * into v_again
  from public.delete_bulk_invoices_safe(
    array(
      select (outcome.value ->> 'invoice_id')::uuid
      from jsonb_array_elements(v_answer.outcomes) as outcome (value)
      where outcome.value ->> 'outcome' = 'invoiced'
    )
  );
  if (v_again.invoices_deleted, v_again.skipped, v_again.reverted_sales_count)
    is distinct from (2, 0, 1) then
    raise exception 'gap 007: deleting two invoices answered %', v_again;
  end if;
  v_reason := 'nothing was refused';
  begin
    perform public.delete_bulk_invoices_safe(array[gen_random_uuid()]);
  exception
    when sqlstate 'PT404' then
      v_reason := sqlerrm;
  end;
  if v_reason <> 'invoice_not_found' then
    raise exception 'gap 007: deleting an invoice that is not there: %', v_reason;
  end if;
  reset role;
end;
$$;
