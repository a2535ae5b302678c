-- Shows that gap 001 is in effect: makes customers, payments and invoices of its own, calls
-- the real functions as the real roles, tries what must be refused, and raises unless all holds.
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
    'public.allocate_payment_atomic(uuid, jsonb, boolean)'::regprocedure,
    'public.request_outcome(text)'::regprocedure,
    'public.check_payment_invariants()'::regprocedure,
    'public.business_today()'::regprocedure
  ] loop
    foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
      v_wanted := v_role <> 'anon';
      if has_function_privilege(v_role, v_function, 'execute') <> v_wanted then
        raise exception 'gap 001: % % execute %', v_role,
          case when v_wanted then 'cannot' else 'can' end, v_function;
      end if;
    end loop;
    if (
      select count(*) from pg_proc
      where pronamespace = 'public'::regnamespace
        and proname = (select named.proname from pg_proc as named where named.oid = v_function)
    ) <> 1 then
      raise exception 'gap 001: % is overloaded, which the API cannot call', v_function;
    end if;
  end loop;

  foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
    if has_schema_privilege(v_role, 'private', 'usage')
      or has_schema_privilege(v_role, 'private', 'create') then
      raise exception 'gap 001: % sees the schema private', v_role;
    end if;
    if exists (
      select from pg_proc
      where pronamespace = 'private'::regnamespace
        and oid <> 'private.outside_our_triggers()'::regprocedure
        and has_function_privilege(v_role, oid, 'execute')
    ) then
      raise exception 'gap 001: % can execute functions of the schema private', v_role;
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
      raise exception 'gap 001: % reaches tables of the schema private', v_role;
    end if;
  end loop;
end;
$$;

-- what the functions and tables hold ----------------------------------------------------------------

-- A trigger that is not ours, in which the owner writes as our counters do.

create temporary table pymilk_verify_written (command text not null) on commit drop;

create function pg_temp.pymilk_verify_write()
returns trigger
language plpgsql
as $$
begin
  execute new.command;
  return null;
end;
$$;

create trigger pymilk_verify_write
after insert on pymilk_verify_written
for each row
execute function pg_temp.pymilk_verify_write();

do $$
declare
  v_customer uuid;
  v_stranger uuid;
  v_payment uuid;
  v_large uuid;
  v_invoice uuid;
  v_second uuid;
  v_cancelled uuid;
  v_strange uuid;
  v_answer record;
  v_again record;
  v_outcome record;
  v_case record;
  v_reason text;
  v_refused boolean;
begin
  insert into public.customers (billing_name) values ('pymilk verify')
  returning id into v_customer;
  insert into public.customers (billing_name) values ('pymilk verify, another')
  returning id into v_stranger;
  -- what the caller says of derived columns is not believed
  insert into public.payments (customer_id, amount, payment_date, amount_applied, allocation_status)
  values (v_customer, 800, current_date, 800, 'fully_applied')
  returning id into v_payment;
  insert into public.payments (customer_id, amount, payment_date)
  values (v_customer, 5000, current_date)
  returning id into v_large;
  insert into public.invoice_metadata (
    customer_id, invoice_date, period_start, period_end, total_amount, invoice_status, amount_paid
  )
  values (v_customer, current_date, current_date, current_date, 1000, 'paid', 1000)
  returning id into v_invoice;
  insert into public.invoice_metadata (
    customer_id, invoice_date, period_start, period_end, total_amount, invoice_status
  )
  values (v_customer, current_date, current_date, current_date, 100, 'sent')
  returning id into v_second;
  insert into public.invoice_metadata (
    customer_id, invoice_date, period_start, period_end, total_amount, invoice_status
  )
  values (v_customer, current_date, current_date, current_date, 100, 'cancelled')
  returning id into v_cancelled;
  insert into public.invoice_metadata (
    customer_id, invoice_date, period_start, period_end, total_amount, invoice_status
  )
  values (v_stranger, current_date, current_date, current_date, 100, 'sent')
  returning id into v_strange;

  -- allocating, as the app's role
  set local role authenticated;
  select * into v_answer from public.allocate_payment_atomic(
    v_payment, jsonb_build_array(jsonb_build_object('invoiceId', v_invoice, 'amount', 300))
  );
  if (
    v_answer.success, v_answer.allocated_amount, v_answer.total_allocated, v_answer.payment_amount,
    v_answer.unapplied_amount, v_answer.allocation_status
  ) is distinct from (true, 300, 300, 800, 500, 'partially_applied') then
    raise exception 'gap 001: allocating 300 of 800 answered %', v_answer;
  end if;

  -- cutting to what fits, as the back office's role, with a key: the second time changes nothing
  set local role service_role;
  perform set_config('pymilk.idempotency_key', 'pymilk verify ' || v_payment, true);
  for v_round in 1..2 loop
    select * into v_again from public.allocate_payment_atomic(
      v_payment,
      jsonb_build_array(
        jsonb_build_object('invoice_id', v_second, 'amount', '250.00'),
        jsonb_build_object('invoice_id', v_invoice, 'amount', 900)
      ),
      false
    );
    if (v_again.allocated_amount, v_again.total_allocated, v_again.unapplied_amount)
      is distinct from (500, 800, 0) then
      raise exception 'gap 001: cutting to what fits answered %, round %', v_again, v_round;
    end if;
  end loop;
  select * into v_outcome
  from public.request_outcome('pymilk verify ' || v_payment);
  if v_outcome.outcome is distinct from 'done'
    or (v_outcome.answer ->> 'allocated_amount')::numeric is distinct from 500 then
    raise exception 'gap 001: the outcome of a finished request is %', v_outcome;
  end if;
  perform set_config('pymilk.idempotency_key', '', true);

  -- refusals, by their reason
  set local role authenticated;
  for v_case in
    select *
    from (values
      (v_payment, v_invoice, '1'::jsonb, 'allocation_exceeds_payment'),
      (v_payment, v_invoice, '0'::jsonb, 'amount_invalid'),
      (v_payment, v_invoice, '"NaN"'::jsonb, 'amount_invalid'),
      (v_payment, v_invoice, '1e400'::jsonb, 'amount_invalid'),
      (v_payment, v_invoice, '0.001'::jsonb, 'amount_invalid'),
      (v_payment, v_strange, '1'::jsonb, 'customer_mismatch'),
      (v_payment, v_cancelled, '1'::jsonb, 'invoice_cancelled'),
      (v_payment, gen_random_uuid(), '1'::jsonb, 'invoice_not_found'),
      (gen_random_uuid(), v_invoice, '1'::jsonb, 'payment_not_found')
    ) as refused (payment_id, invoice_id, amount, reason)
  loop
    v_reason := 'nothing was refused';
    begin
      perform public.allocate_payment_atomic(
        v_case.payment_id,
        jsonb_build_array(
          jsonb_build_object('invoiceId', v_case.invoice_id, 'amount', v_case.amount)
        )
      );
    exception
      when sqlstate 'PT400' or sqlstate 'PT404' or sqlstate 'PT409' or sqlstate 'PT422' then
        v_reason := sqlerrm;
    end;
    if v_reason <> v_case.reason then
      raise exception 'gap 001: instead of %: %', v_case.reason, v_reason;
    end if;
  end loop;
  reset role;

  -- direct writes
  for v_case in
    select step.*
    from (values
      (1, 'an allocation beyond the payment'),
      (2, 'an amount below what is allocated'),
      (3, 'cancelling an invoice that holds money'),
      (4, 'a payment of NaN'),
      (5, 'an allocation beyond the invoice'),
      (6, 'an allocation to a cancelled invoice'),
      (7, 'an allocation to a stranger''s invoice')
    ) as step (number, what)
  loop
    v_refused := false;
    begin
      case v_case.number
        when 1 then
          update public.invoice_payments set amount_allocated = 701
          where payment_id = v_payment and invoice_id = v_invoice;
        when 2 then
          update public.payments set amount = 799.99 where id = v_payment;
        when 3 then
          update public.invoice_metadata set invoice_status = 'cancelled' where id = v_second;
        when 4 then
          insert into public.payments (customer_id, amount, payment_date)
          values (v_customer, 'NaN', current_date);
        when 5 then
          insert into public.invoice_payments (payment_id, invoice_id, amount_allocated)
          values (v_large, v_invoice, 300.01);
        when 6 then
          insert into public.invoice_payments (payment_id, invoice_id, amount_allocated)
          values (v_large, v_cancelled, 1);
        when 7 then
          insert into public.invoice_payments (payment_id, invoice_id, amount_allocated)
          values (v_large, v_strange, 1);
      end case;
    exception
      when check_violation then
        v_refused := true;
    end;
    if not v_refused then
      raise exception 'gap 001: % was not refused', v_case.what;
    end if;
  end loop;

  update public.payments set amount_applied = 0, allocation_status = 'unapplied'
  where id = v_payment;
  update public.invoice_metadata set amount_paid = 1, invoice_status = 'paid'
  where id = v_invoice;
  delete from public.invoice_payments where payment_id = v_payment and invoice_id = v_second;
  update public.payments set amount = 850 where id = v_payment;
  insert into pymilk_verify_written (command)
  values
  (format('update public.payments set amount = 900 where id = %L', v_payment)),
  (
    format(
      'update public.invoice_metadata set total_amount = 1100, amount_paid = 0 where id = %L',
      v_invoice
    )
  ),
  (format('update public.invoice_metadata set invoice_status = ''paid'' where id = %L', v_second));

  if not exists (
    select
    from public.payments as payment
    where payment.id = v_payment
      and payment.amount_applied = 700
      and payment.amount_unapplied = 200
      and payment.allocation_status = 'partially_applied'
  ) then
    raise exception 'gap 001: the totals of the payment did not follow its allocations';
  end if;

  if (
    select count(*)
    from public.invoice_metadata as invoice
    where (invoice.id, invoice.amount_paid, invoice.amount_outstanding, invoice.invoice_status)
      in ((v_invoice, 700, 400, 'partially_paid'), (v_second, 0, 100, 'sent'))
  ) <> 2 then
    raise exception 'gap 001: the totals of the invoices did not follow their allocations';
  end if;

  -- What is broken of others' is not its business: somebody may be in the middle of something.
  set local role authenticated;
  if exists (
    select
    from public.check_payment_invariants() as broken
    where broken.entity_id = any(array[v_payment, v_large, v_invoice, v_second]::text[])
  ) then
    raise exception 'gap 001: check_payment_invariants finds fault with what holds';
  end if;
  reset role;
end;
$$;
