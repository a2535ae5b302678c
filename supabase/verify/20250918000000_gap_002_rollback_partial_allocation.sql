-- Shows that gap 002 is in effect: undoes, takes off and voids payments of its own as the real roles,
-- tries what must be refused, and raises unless all holds.
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
    'public.rollback_partial_allocation(uuid)'::regprocedure,
    'public.unallocate_payment(uuid, uuid[], text)'::regprocedure,
    'public.void_payment(uuid, text)'::regprocedure,
    'public.update_invoice_status(uuid)'::regprocedure,
    'public.update_invoice_status_with_sales_completion(uuid)'::regprocedure
  ] loop
    foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
      v_wanted := v_role <> 'anon';
      if has_function_privilege(v_role, v_function, 'execute') <> v_wanted then
        raise exception 'gap 002: % % execute %', v_role,
          case when v_wanted then 'cannot' else 'can' end, v_function;
      end if;
    end loop;
    if (
      select count(*) from pg_proc
      where pronamespace = 'public'::regnamespace
        and proname = (select named.proname from pg_proc as named where named.oid = v_function)
    ) <> 1 then
      raise exception 'gap 002: % is overloaded, which the API cannot call', v_function;
    end if;
    if not (select function.prosecdef from pg_proc as function where function.oid = v_function) then
      raise exception 'gap 002: % does not run as the owner', v_function;
    end if;
  end loop;

  foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
    if exists (
      select from pg_proc
      where pronamespace = 'private'::regnamespace
        and oid <> 'private.outside_our_triggers()'::regprocedure
        and has_function_privilege(v_role, oid, 'execute')
    ) then
      raise exception 'gap 002: % can execute functions of the schema private', v_role;
    end if;
    if has_table_privilege(
      v_role, 'private.privileges_before', 'select, insert, update, delete, truncate'
    ) then
      raise exception 'gap 002: % reaches private.privileges_before', v_role;
    end if;
  end loop;
end;
$$;

-- what the functions and tables hold ----------------------------------------------------------------

do $$
declare
  v_customer uuid;
  v_payment uuid;
  v_first uuid;
  v_second uuid;
  v_overdue uuid;
  v_untouched uuid;
  v_other uuid;
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
  values (v_customer, 800, current_date)
  returning id into v_payment;
  insert into public.payments (customer_id, amount, payment_date)
  values (v_customer, 10, current_date)
  returning id into v_other;
  -- a day each: live invoices of a customer do not overlap
  for v_number in 1..4 loop
    insert into public.invoice_metadata (
      customer_id, invoice_date, period_start, period_end, total_amount, invoice_status, due_date
    )
    values (
      v_customer, v_day + v_number, v_day + v_number, v_day + v_number, 1000, 'sent',
      case v_number when 3 then public.business_today() else date '2999-01-01' end
    )
    returning id into v_invoice;
    case v_number
      when 1 then v_first := v_invoice;
      when 2 then v_second := v_invoice;
      when 3 then v_overdue := v_invoice;
      else v_untouched := v_invoice;
    end case;
  end loop;

  -- what direct writes left behind comes off, as the app's role
  insert into public.invoice_payments (payment_id, invoice_id, amount_allocated)
  values (v_payment, v_first, 300), (v_payment, v_second, 200);
  set local role authenticated;
  select * into v_answer from public.rollback_partial_allocation(v_payment);
  if (
    v_answer.success, v_answer.affected_invoices, v_answer.removed_amount,
    v_answer.payment_reset_to_unapplied
  ) is distinct from (true, 2, 500, true) then
    raise exception 'gap 002: rolling back 500 on two invoices answered %', v_answer;
  end if;

  -- what an RPC committed stays, but for its key
  perform set_config('pymilk.idempotency_key', 'pymilk verify ' || v_payment, true);
  perform public.allocate_payment_atomic(
    v_payment, jsonb_build_array(jsonb_build_object('invoiceId', v_first, 'amount', 300))
  );
  perform set_config('pymilk.idempotency_key', '', true);
  perform public.allocate_payment_atomic(
    v_payment, jsonb_build_array(jsonb_build_object('invoiceId', v_first, 'amount', 50))
  );
  select * into v_answer from public.rollback_partial_allocation(v_payment);
  if v_answer.removed_amount is distinct from 0 then
    raise exception 'gap 002: rolling back what an RPC committed answered %', v_answer;
  end if;
  perform set_config('pymilk.idempotency_key', 'pymilk verify ' || v_payment, true);
  for v_round in 1..2 loop
    select * into v_answer from public.rollback_partial_allocation(v_payment);
    if (v_answer.affected_invoices, v_answer.removed_amount, v_answer.payment_reset_to_unapplied)
      is distinct from (1, 300, false) then
      raise exception 'gap 002: undoing a call by its key answered %, round %', v_answer, v_round;
    end if;
  end loop;
  if (
    select asked.outcome from public.request_outcome('pymilk verify ' || v_payment) as asked
  ) is distinct from 'undone' then
    raise exception 'gap 002: the outcome of a call that was undone is not: undone';
  end if;

  -- refusals, by their reason; the key is that of the call that was undone
  for v_case in
    select *
    from (values
      (1, 'request_undone'),
      (2, 'key_of_another_payment'),
      (3, 'allocation_not_found'),
      (4, 'invoice_ids_invalid'),
      (5, 'reason_required'),
      (6, 'payment_not_found')
    ) as refused (number, reason)
  loop
    v_reason := 'nothing was refused';
    begin
      case v_case.number
        when 1 then
          perform public.allocate_payment_atomic(
            v_payment, jsonb_build_array(jsonb_build_object('invoiceId', v_first, 'amount', 300))
          );
        when 2 then
          perform public.rollback_partial_allocation(v_other);
        when 3 then
          perform public.unallocate_payment(v_payment, array[v_first, v_untouched], 'verify');
        when 4 then
          perform public.unallocate_payment(v_payment, '{}', 'verify');
        when 5 then
          perform public.void_payment(v_payment, '  ');
        when 6 then
          perform public.void_payment(gen_random_uuid(), 'verify');
      end case;
    exception
      when sqlstate 'PT400' or sqlstate 'PT404' or sqlstate 'PT409' then
        v_reason := sqlerrm;
    end;
    if v_reason <> v_case.reason then
      raise exception 'gap 002: instead of %: %', v_case.reason, v_reason;
    end if;
  end loop;
  perform set_config('pymilk.idempotency_key', '', true);

  -- taking off, as the back office's role
  set local role service_role;
  perform public.allocate_payment_atomic(
    v_payment, jsonb_build_array(jsonb_build_object('invoiceId', v_second, 'amount', 700))
  );
  select * into v_answer from public.unallocate_payment(v_payment, array[v_second], 'verify');
  if (v_answer.affected_invoices, v_answer.removed_amount, v_answer.unapplied_amount)
    is distinct from (1, 700, 750) then
    raise exception 'gap 002: taking 700 off answered %', v_answer;
  end if;
  reset role;
  if not exists (
    select
    from private.allocation_journal as journal
    where journal.payment_id = v_payment
      and journal.amount_change = -700
      and journal.call_id is not null
      and journal.reason = 'verify'
  ) then
    raise exception 'gap 002: the journal does not know why 700 came off';
  end if;

  -- the app's own status functions
  update public.invoice_metadata set due_date = public.business_today() - 1 where id = v_overdue;
  set local role authenticated;
  perform public.update_invoice_status(v_overdue);
  perform public.update_invoice_status_with_sales_completion(v_first);
  perform public.update_invoice_status(gen_random_uuid());
  reset role;
  if (
    select invoice.invoice_status from public.invoice_metadata as invoice
    where invoice.id = v_overdue
  ) is distinct from 'overdue' then
    raise exception 'gap 002: an invoice past its due date is not overdue';
  end if;

  -- voiding
  set local role authenticated;
  select * into v_answer from public.void_payment(v_payment, 'verify');
  if (v_answer.affected_invoices, v_answer.removed_amount, v_answer.payment_amount)
    is distinct from (1, 50, 800) then
    raise exception 'gap 002: voiding answered %', v_answer;
  end if;
  reset role;
  if not exists (
    select
    from public.payments as payment
    where payment.id = v_payment
      and payment.amount_applied = 0
      and payment.amount_unapplied = 0
      and payment.voided_by is not null
      and payment.void_reason = 'verify'
  ) or exists (
    select from public.unapplied_payments as mirror where mirror.payment_id = v_payment
  ) then
    raise exception 'gap 002: something is left of a voided payment';
  end if;

  for v_case in
    select step.*
    from (values
      (1, 'giving a voided payment back'),
      (2, 'another amount of a voided payment'),
      (3, 'an allocation of a voided payment'),
      (4, 'voiding without a reason'),
      (5, 'voiding a payment that is allocated'),
      (6, 'recording a voided payment'),
      (7, 'allocating a voided payment')
    ) as step (number, what)
  loop
    v_refused := false;
    begin
      case v_case.number
        when 1 then
          update public.payments set voided_at = null where id = v_payment;
        when 2 then
          update public.payments set amount = 900 where id = v_payment;
        when 3 then
          insert into public.invoice_payments (payment_id, invoice_id, amount_allocated)
          values (v_payment, v_first, 1);
        when 4 then
          update public.payments set voided_at = now() where id = v_other;
        when 5 then
          insert into public.invoice_payments (payment_id, invoice_id, amount_allocated)
          values (v_other, v_first, 1);
          update public.payments set voided_at = now(), void_reason = 'verify'
          where id = v_other;
        when 6 then
          insert into public.payments (customer_id, amount, payment_date, voided_at)
          values (v_customer, 10, current_date, now());
        when 7 then
          perform public.allocate_payment_atomic(
            v_payment, jsonb_build_array(jsonb_build_object('invoiceId', v_first, 'amount', 1))
          );
      end case;
    exception
      when check_violation then
        v_refused := v_case.number <> 7;
      when sqlstate 'PT409' then
        v_refused := v_case.number = 7 and sqlerrm = 'payment_voided';
    end;
    if not v_refused then
      raise exception 'gap 002: % was not refused', v_case.what;
    end if;
  end loop;

  update public.payments set amount_unapplied = 800, allocation_status = 'fully_applied'
  where id = v_payment;
  if not exists (
    select
    from public.payments as payment
    where payment.id = v_payment
      and payment.amount_unapplied = 0
      and payment.allocation_status = 'unapplied'
  ) then
    raise exception 'gap 002: a voided payment was believed to have something left';
  end if;
end;
$$;
