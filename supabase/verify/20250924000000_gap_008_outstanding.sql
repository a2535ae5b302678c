-- Shows that gap 008 is in effect: makes a customer with an opening balance, invoices and payments,
-- asks the real functions as the real roles, and raises unless both ways of computing what is owed
-- come to the figure that stands here, and an unknown customer is refused.
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
    'public.calculate_customer_outstanding(uuid)'::regprocedure,
    'public.outstanding_breakdown(uuid, date)'::regprocedure,
    'public.validate_outstanding(uuid)'::regprocedure
  ] loop
    foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
      v_wanted := v_role <> 'anon';
      if has_function_privilege(v_role, v_function, 'execute') <> v_wanted then
        raise exception 'gap 008: % % execute %', v_role,
          case when v_wanted then 'cannot' else 'can' end, v_function;
      end if;
    end loop;
    if (
      select count(*) from pg_proc
      where pronamespace = 'public'::regnamespace
        and proname = (select named.proname from pg_proc as named where named.oid = v_function)
    ) <> 1 then
      raise exception 'gap 008: % is overloaded, which the API cannot call', v_function;
    end if;
    if (select named.provolatile from pg_proc as named where named.oid = v_function) <> 's' then
      raise exception 'gap 008: % is not a function that only reads', v_function;
    end if;
  end loop;

  if not exists (
    select
    from pg_index
    where indexrelid = to_regclass('public.idx_opening_balance_payments_customer')
      and indisvalid
  ) then
    raise exception 'gap 008: the index of opening_balance_payments by customer is missing';
  end if;
end;
$$;

-- what the functions say --------------------------------------------------------------------------

do $$
declare
  v_today date := (now() at time zone 'Asia/Kolkata')::date; -- the dairy's
  v_customer uuid;
  v_payment uuid;
  v_overdue uuid;
  v_role text;
  v_outstanding numeric;
  v_parts record;
  v_before record;
  v_validation record;
  v_case record;
  v_reason text;
begin
  insert into public.customers (billing_name, opening_balance) values ('pymilk verify', 500)
  returning id into v_customer;
  insert into public.payments (customer_id, amount, payment_date)
  values (v_customer, 800, v_today - 5)
  returning id into v_payment;
  insert into public.invoice_metadata (
    customer_id, invoice_date, period_start, period_end, total_amount, invoice_status, due_date
  )
  values (v_customer, v_today - 9, v_today - 9, v_today - 9, 1000, 'sent', v_today - 1)
  returning id into v_overdue;
  insert into public.invoice_metadata (
    customer_id, invoice_date, period_start, period_end, total_amount, invoice_status, due_date
  )
  values
  (v_customer, v_today - 8, v_today - 8, v_today - 8, 250.50, 'sent', v_today),
  (v_customer, v_today - 7, v_today - 7, v_today - 7, 5000, 'draft', v_today - 1),
  (v_customer, v_today - 6, v_today - 6, v_today - 6, 5000, 'cancelled', v_today - 1);
  insert into public.opening_balance_payments (customer_id, payment_id, amount)
  values (v_customer, v_payment, 100);
  insert into public.invoice_payments (invoice_id, payment_id, amount_allocated)
  values (v_overdue, v_payment, 300);

  foreach v_role in array array['authenticated', 'service_role'] loop
    perform set_config('role', v_role, true);

    v_outstanding := public.calculate_customer_outstanding(customer_uuid => v_customer);
    if v_outstanding is distinct from 1350.50 then
      raise exception 'gap 008: % is told that 1350.50 is %', v_role, v_outstanding;
    end if;

    select * into v_parts from public.outstanding_breakdown(v_customer, null);
    if (
      v_parts.as_of, v_parts.opening_balance_remaining, v_parts.invoices_outstanding,
      v_parts.overdue, v_parts.outstanding, v_parts.credit, v_parts.net, v_parts.balance
    ) is distinct from (v_today, 400, 950.50, 700, 1350.50, 400, 950.50, '950.50') then
      raise exception 'gap 008: % is told that it consists of %', v_role, v_parts;
    end if;

    select * into v_before
    from public.outstanding_breakdown(p_customer_id => v_customer, p_as_of => v_today - 6);
    if (v_before.outstanding, v_before.credit, v_before.overdue)
      is distinct from (1750.50, 0, 0) then
      raise exception 'gap 008: before the payment it was, says %', v_before;
    end if;

    select * into v_validation from public.validate_outstanding(p_customer_id => v_customer);
    if v_validation.valid is distinct from true
      or v_validation.summed_outstanding is distinct from 1350.50
      or v_validation.summed_credit is distinct from 400
      or v_validation.differences is distinct from '[]' then
      raise exception 'gap 008: the two ways differ: %', v_validation;
    end if;
  end loop;

  -- refusals, by their reason
  set local role authenticated;
  for v_case in
    select *
    from (values
      (1, 'customer_not_found'),
      (2, 'customer_required'),
      (3, 'customer_not_found'),
      (4, 'customer_required'),
      (5, 'date_invalid'),
      (6, 'customer_not_found'),
      (7, 'customer_required')
    ) as refused (number, reason)
  loop
    v_reason := 'nothing was refused';
    begin
      case v_case.number
        when 1 then perform public.calculate_customer_outstanding(gen_random_uuid());
        when 2 then perform public.calculate_customer_outstanding(null);
        when 3 then perform public.outstanding_breakdown(gen_random_uuid(), null);
        when 4 then perform public.outstanding_breakdown(null, null);
        when 5 then perform public.outstanding_breakdown(v_customer, 'infinity');
        when 6 then perform public.validate_outstanding(gen_random_uuid());
        when 7 then perform public.validate_outstanding(null);
      end case;
    exception
      when sqlstate 'PT400' or sqlstate 'PT404' then
        v_reason := sqlerrm;
    end;
    if v_reason <> v_case.reason then
      raise exception 'gap 008: instead of %: %', v_case.reason, v_reason;
    end if;
  end loop;
  reset role;
end;
$$;
