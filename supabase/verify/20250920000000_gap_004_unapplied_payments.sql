-- Shows that gap 004 is in effect: moves payments of its own in every way, writes into
-- unapplied_payments what is not true, breaks and repairs it, and raises unless all holds.
--
-- The runner rolls it back. It runs as the owner, beside whatever data is there.

-- what the roles may do ---------------------------------------------------------------------------

do $$
declare
  v_case record;
  v_role text;
begin
  for v_case in
    select *
    from (values
      (
        'public.reconcile_unapplied_payments()'::regprocedure,
        array['authenticated', 'service_role']
      ),
      (
        'public.fix_unapplied_payments_inconsistencies(boolean)'::regprocedure,
        array['service_role']
      ),
      (
        'public.allocate_payment_atomic(uuid, jsonb, boolean)'::regprocedure,
        array['authenticated', 'service_role']
      ),
      (
        'public.void_payment(uuid, text)'::regprocedure,
        array['authenticated', 'service_role']
      )
    ) as wanted (function, roles)
  loop
    foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
      if has_function_privilege(v_role, v_case.function, 'execute')
        <> (v_role = any(v_case.roles)) then
        raise exception 'gap 004: % % execute %', v_role,
          case when v_role = any(v_case.roles) then 'cannot' else 'can' end, v_case.function;
      end if;
    end loop;
    if (
      select count(*) from pg_proc
      where pronamespace = 'public'::regnamespace
        and proname = (
          select named.proname from pg_proc as named where named.oid = v_case.function
        )
    ) <> 1 then
      raise exception 'gap 004: % is overloaded, which the API cannot call', v_case.function;
    end if;
  end loop;

  foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
    if exists (
      select from pg_proc
      where pronamespace = 'private'::regnamespace
        and oid <> 'private.outside_our_triggers()'::regprocedure
        and has_function_privilege(v_role, oid, 'execute')
    ) then
      raise exception 'gap 004: % can execute functions of the schema private', v_role;
    end if;
  end loop;
end;
$$;

-- what the tables hold ------------------------------------------------------------------------------

do $$
declare
  v_customer uuid;
  v_stranger uuid;
  v_payment uuid;
  v_second uuid;
  v_invoice uuid;
  v_step record;
  v_rows bigint;
  v_returned bigint;
  v_refused boolean;
begin
  insert into public.customers (billing_name, opening_balance) values ('pymilk verify', 100)
  returning id into v_customer;
  insert into public.customers (billing_name) values ('pymilk verify, another')
  returning id into v_stranger;
  insert into public.invoice_metadata (
    customer_id, invoice_date, period_start, period_end, total_amount, invoice_status
  )
  values (v_customer, current_date, '1971-01-01', '1971-01-01', 1000, 'sent')
  returning id into v_invoice;
  insert into public.payments (customer_id, amount, payment_date)
  values (null, 800, current_date)
  returning id into v_payment;
  insert into public.payments (customer_id, amount, payment_date)
  values (v_customer, 90, current_date)
  returning id into v_second;
  if not exists (
    select from public.unapplied_payments where payment_id = v_second and amount_unapplied = 90
  ) then
    raise exception 'gap 004: a payment that is recorded gets no row';
  end if;

  -- each step moves the payment or lies about it; what its one row then has to say (0: no row)
  for v_step in
    select step.*
    from (values
      (1, 'a payment without a customer', 0),
      (2, 'a customer given later', 800),
      (3, 'the row that the app inserts', 800),
      (4, 'a direct allocation', 500),
      (5, 'an amount and a customer that are not true', 500),
      (6, 'a deletion', 500),
      (7, 'a row on conflict with another payment''s', 500),
      (8, 'an edited amount', 600),
      (9, 'an opening balance paid', 500),
      (10, 'an allocation of the rest', 0),
      (11, 'a row where nothing is left', 0),
      (12, 'an allocation taken off', 500),
      (13, 'another row and the customer at once', 500),
      (14, 'a payment voided', 0)
    ) as step (number, what, wanted)
    order by step.number
  loop
    case v_step.number
      when 1 then
        null;
      when 2 then
        update public.payments set customer_id = v_customer where id = v_payment;
      when 3 then
        with written as (
          insert into public.unapplied_payments (
            customer_id, payment_id, amount_unapplied, reason
          )
          values (v_customer, v_payment, 799, 'pymilk verify')
          returning amount_unapplied
        )
        select count(*) filter (where written.amount_unapplied = 800) into v_returned from written;
        if v_returned <> 1 then
          raise exception 'gap 004: the row that the app inserts does not come back true';
        end if;
      when 4 then
        insert into public.invoice_payments (payment_id, invoice_id, amount_allocated)
        values (v_payment, v_invoice, 300);
      when 5 then
        update public.unapplied_payments
        set amount_unapplied = 7, customer_id = v_stranger, payment_id = v_second
        where payment_id = v_payment;
      when 6 then
        delete from public.unapplied_payments where payment_id = v_payment;
      when 7 then
        insert into public.unapplied_payments (id, customer_id, payment_id, amount_unapplied)
        select mirror.id, v_customer, v_payment, 1
        from public.unapplied_payments as mirror
        where mirror.payment_id = v_second
        on conflict (id) do nothing;
      when 8 then
        update public.payments set amount = 900 where id = v_payment;
      when 9 then
        insert into public.opening_balance_payments (payment_id, customer_id, amount)
        values (v_payment, v_customer, 100);
      when 10 then
        update public.invoice_payments set amount_allocated = 800 where payment_id = v_payment;
      when 11 then
        insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied)
        values (v_customer, v_payment, 500);
      when 12 then
        set local role authenticated;
        perform public.unallocate_payment(v_payment, null, 'pymilk verify');
        perform public.allocate_payment_atomic(
          v_payment, jsonb_build_array(jsonb_build_object('invoiceId', v_invoice, 'amount', 300))
        );
        reset role;
      when 13 then
        insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied)
        values (v_stranger, v_payment, 1), (v_customer, v_payment, 2);
      when 14 then
        set local role authenticated;
        perform public.void_payment(v_payment, 'pymilk verify');
        reset role;
    end case;

    select count(*) into v_rows
    from public.unapplied_payments as mirror
    where mirror.payment_id = v_payment
      and mirror.amount_unapplied = v_step.wanted
      and mirror.customer_id = v_customer;
    if (select count(*) from public.unapplied_payments where payment_id = v_payment) <> v_rows
      or v_rows <> sign(v_step.wanted) then
      raise exception 'gap 004: after % the mirror is %', v_step.what, (
        select jsonb_agg(to_jsonb(mirror))
        from public.unapplied_payments as mirror
        where mirror.payment_id = v_payment
      );
    end if;
  end loop;

  -- a payment takes its row along
  delete from public.unapplied_payments where payment_id = v_second;
  delete from public.payments where id = v_second;
  if exists (select from public.unapplied_payments where payment_id = v_second) then
    raise exception 'gap 004: a payment left its row behind';
  end if;

  v_refused := false;
  begin
    truncate public.unapplied_payments;
  exception
    when check_violation then
      v_refused := true;
  end;
  if not v_refused then
    raise exception 'gap 004: unapplied_payments can be truncated';
  end if;
end;
$$;

-- what is found and repaired ------------------------------------------------------------------------
-- A row is taken away as nobody can: until this is undone, what keeps it is another function. No trigger
-- is disabled, so nobody has to wait.

create or replace function private.keep_unapplied()
returns trigger
language plpgsql
security definer -- as it was
set search_path = pg_catalog, pg_temp
as $$
begin
  return old;
end;
$$;

do $$
declare
  v_payment uuid;
  v_before bigint;
  v_dry record;
  v_fixed record;
begin
  select count(*) into v_before from public.reconcile_unapplied_payments();

  with customer as (
    insert into public.customers (billing_name) values ('pymilk verify')
    returning id
  )
  insert into public.payments (customer_id, amount, payment_date)
  select customer.id, 800, current_date
  from customer
  returning id into v_payment;
  delete from public.unapplied_payments where payment_id = v_payment;

  set local role authenticated;
  if not exists (
    select
    from public.reconcile_unapplied_payments() as faulty
    where faulty.payment_id = v_payment
      and (faulty.expected, faulty.found, faulty.fault) = (800, 0, 'missing')
  ) then
    raise exception 'gap 004: a missing row was not found';
  end if;

  set local role service_role;
  select * into v_dry from public.fix_unapplied_payments_inconsistencies();
  if (v_dry.dry_run, v_dry.inconsistencies_found, v_dry.inconsistencies_fixed)
    is distinct from (true, v_before + 1, 0::bigint)
    or (select count(*) from public.reconcile_unapplied_payments()) <> v_before + 1 then
    raise exception 'gap 004: a dry run answered %', v_dry;
  end if;

  select * into v_fixed from public.fix_unapplied_payments_inconsistencies(false);
  if v_fixed.inconsistencies_fixed is distinct from v_before + 1
    or exists (select from public.reconcile_unapplied_payments()) then
    raise exception 'gap 004: the repair answered %', v_fixed;
  end if;
  reset role;

  if not exists (
    select from public.unapplied_payments where payment_id = v_payment and amount_unapplied = 800
  ) then
    raise exception 'gap 004: the repair did not make the missing row';
  end if;
end;
$$;
