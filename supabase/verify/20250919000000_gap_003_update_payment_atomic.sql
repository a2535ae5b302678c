-- Shows that gap 003 is in effect: changes payments of its own as the real roles, tries what must be
-- refused, looks at the record of edits, and raises unless all holds.
--
-- The runner rolls it back. It runs as the owner, beside whatever data is there.

-- what the roles may do ---------------------------------------------------------------------------

do $$
declare
  v_function regprocedure := 'public.update_payment_atomic(uuid, numeric, jsonb, text)';
  v_role text;
  v_wanted boolean;
begin
  foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
    v_wanted := v_role <> 'anon';
    if has_function_privilege(v_role, v_function, 'execute') <> v_wanted then
      raise exception 'gap 003: % % execute %', v_role,
        case when v_wanted then 'cannot' else 'can' end, v_function;
    end if;
    if exists (
      select from pg_proc
      where pronamespace = 'private'::regnamespace
        and oid <> 'private.outside_our_triggers()'::regprocedure
        and has_function_privilege(v_role, oid, 'execute')
    ) then
      raise exception 'gap 003: % can execute functions of the schema private', v_role;
    end if;
    if has_table_privilege(
      v_role, 'private.payment_edits', 'select, insert, update, delete, truncate'
    ) then
      raise exception 'gap 003: % reaches the record of edits', v_role;
    end if;
  end loop;

  if (
    select count(*) from pg_proc
    where pronamespace = 'public'::regnamespace and proname = 'update_payment_atomic'
  ) <> 1 then
    raise exception 'gap 003: % is overloaded, which the API cannot call', v_function;
  end if;
end;
$$;

-- what the functions and tables hold ----------------------------------------------------------------

do $$
declare
  v_customer uuid;
  v_payment uuid;
  v_lowered uuid;
  v_raised uuid;
  v_left uuid;
  v_invoice uuid;
  v_day date := date '1971-01-01';
  v_answer record;
  v_case record;
  v_reason text;
  v_refused boolean;
begin
  insert into public.customers (billing_name) values ('pymilk verify')
  returning id into v_customer;
  insert into public.payments (customer_id, amount, payment_date)
  values (v_customer, 1000, date '2025-09-01')
  returning id into v_payment;
  -- a day each: live invoices of a customer do not overlap
  for v_number in 1..3 loop
    insert into public.invoice_metadata (
      customer_id, invoice_date, period_start, period_end, total_amount, invoice_status
    )
    values (
      v_customer, v_day + v_number, v_day + v_number, v_day + v_number, 500, 'sent'
    )
    returning id into v_invoice;
    case v_number
      when 1 then v_lowered := v_invoice;
      when 2 then v_raised := v_invoice;
      else v_left := v_invoice;
    end case;
  end loop;

  -- as the app's role: lowering, raising and leaving at once, with a smaller amount
  set local role authenticated;
  perform public.allocate_payment_atomic(
    v_payment,
    jsonb_build_array(
      jsonb_build_object('invoiceId', v_lowered, 'amount', 500),
      jsonb_build_object('invoiceId', v_raised, 'amount', 100),
      jsonb_build_object('invoiceId', v_left, 'amount', 400)
    )
  );
  select * into v_answer from public.update_payment_atomic(
    v_payment, 800,
    jsonb_build_array(
      jsonb_build_object('invoiceId', v_raised, 'amount', 500),
      jsonb_build_object('invoiceId', v_lowered, 'amount', 200)
    ),
    'verify'
  );
  if (
    v_answer.success, v_answer.allocated_amount, v_answer.total_allocated, v_answer.payment_amount,
    v_answer.unapplied_amount, v_answer.allocation_status
  ) is distinct from (true, 700, 700, 800, 100, 'partially_applied') then
    raise exception 'gap 003: replacing allocations answered %', v_answer;
  end if;

  -- as the back office's role: the amount alone
  set local role service_role;
  select * into v_answer from public.update_payment_atomic(v_payment, 700, null, 'verify');
  if (v_answer.total_allocated, v_answer.unapplied_amount) is distinct from (700, 0) then
    raise exception 'gap 003: a new amount answered %', v_answer;
  end if;

  -- refusals, by their reason
  set local role authenticated;
  for v_case in
    select *
    from (values
      (v_payment, '699.99'::numeric, null::jsonb, 'amount_below_allocated'),
      (v_payment, 'NaN', null, 'amount_invalid'),
      (v_payment, 'Infinity', null, 'amount_invalid'),
      (v_payment, 0, null, 'amount_invalid'),
      (v_payment, 700.001, null, 'amount_invalid'),
      (
        v_payment, 100, jsonb_build_array(jsonb_build_object('invoiceId', v_left, 'amount', 101)),
        'allocation_exceeds_payment'
      ),
      (
        v_payment, 900, jsonb_build_array(jsonb_build_object('invoiceId', v_left, 'amount', 501)),
        'allocation_exceeds_invoice'
      ),
      (gen_random_uuid(), 5, null, 'payment_not_found')
    ) as refused (payment_id, amount, allocations, reason)
  loop
    v_reason := 'nothing was refused';
    begin
      perform public.update_payment_atomic(
        v_case.payment_id, v_case.amount, v_case.allocations, 'verify'
      );
    exception
      when sqlstate 'PT400' or sqlstate 'PT404' or sqlstate 'PT409' then
        v_reason := sqlerrm;
    end;
    if v_reason <> v_case.reason then
      raise exception 'gap 003: instead of %: %', v_case.reason, v_reason;
    end if;
  end loop;
  reset role;

  -- direct writes: refused below what is allocated, else recorded when they change something
  begin
    v_refused := false;
    update public.payments set amount = 699.99 where id = v_payment;
  exception
    when check_violation then
      v_refused := true;
  end;
  if not v_refused then
    raise exception 'gap 003: an amount below what is allocated was not refused';
  end if;

  update public.payments set payment_date = date '2025-09-02', notes = 'verify'
  where id = v_payment;
  update public.payments set payment_date = date '2025-09-02', amount = 700 where id = v_payment;

  if (
    select array_agg(concat_ws(' ', edit.was, edit.became, edit.reason) order by edit.id)
    from private.payment_edits as edit
    where edit.payment_id = v_payment and edit.recorded_by is not null
  ) is distinct from array[
    '{"amount": 1000} {"amount": 800} verify',
    '{"amount": 800} {"amount": 700} verify',
    '{"payment_date": "2025-09-01"} {"payment_date": "2025-09-02"}'
  ] then
    raise exception 'gap 003: the record of edits does not tell what was edited';
  end if;

  begin
    v_refused := false;
    delete from private.payment_edits where payment_id = v_payment;
  exception
    when check_violation then
      v_refused := true;
  end;
  if not v_refused then
    raise exception 'gap 003: the record of edits can be changed';
  end if;
end;
$$;
