-- Shows that gap 006 is in effect: makes a customer, invoices and sales of its own, calls the real
-- functions as the real roles, tries what must be refused, and raises unless all holds.
--
-- The runner rolls it back. It runs as the owner, beside whatever data is there.

-- what the roles may do ---------------------------------------------------------------------------

do $$
declare
  v_function regprocedure;
  v_table regclass;
  v_role text;
  v_wanted boolean;
begin
  foreach v_function in array array[
    'public.delete_invoice_safe(uuid, boolean)'::regprocedure,
    'public.recover_invoice(uuid)'::regprocedure,
    'public.delete_invoice_and_revert_sales(uuid)'::regprocedure
  ] loop
    foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
      v_wanted := v_role <> 'anon';
      if has_function_privilege(v_role, v_function, 'execute') <> v_wanted then
        raise exception 'gap 006: % % execute %', v_role,
          case when v_wanted then 'cannot' else 'can' end, v_function;
      end if;
    end loop;
    if (
      select count(*) from pg_proc
      where pronamespace = 'public'::regnamespace
        and proname = (select named.proname from pg_proc as named where named.oid = v_function)
    ) <> 1 then
      raise exception 'gap 006: % is overloaded, which the API cannot call', v_function;
    end if;
  end loop;

  foreach v_table in array array[
    'public.audit_trail'::regclass, 'public.invoice_sales_mapping'::regclass
  ] loop
    foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
      if has_table_privilege(v_role, v_table, 'insert, update, delete, truncate') then
        raise exception 'gap 006: % writes %', v_role, v_table;
      end if;
      if has_table_privilege(v_role, v_table, 'select') <> (v_role <> 'anon') then
        raise exception 'gap 006: % %', v_table,
          case when v_role = 'anon' then 'is read by anon' else 'cannot be read by ' || v_role end;
      end if;
    end loop;
    if not (select relrowsecurity from pg_class where oid = v_table) then
      raise exception 'gap 006: % has no row level security', v_table;
    end if;
  end loop;

  foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
    if exists (
      select from pg_proc
      where pronamespace = 'private'::regnamespace
        and oid <> 'private.outside_our_triggers()'::regprocedure
        and has_function_privilege(v_role, oid, 'execute')
    ) then
      raise exception 'gap 006: % can execute functions of the schema private', v_role;
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
  v_product uuid;
  v_sale uuid;
  v_other_sale uuid;
  v_strange_sale uuid;
  v_delivery uuid;
  v_invoice uuid;
  v_other uuid;
  v_paid uuid;
  v_payment uuid;
  v_answer record;
  v_again record;
  v_json jsonb;
  v_entries bigint;
  v_case record;
  v_reason text;
begin
  insert into public.customers (billing_name) values ('pymilk verify')
  returning id into v_customer;
  insert into public.customers (billing_name) values ('pymilk verify, another')
  returning id into v_stranger;
  insert into public.products (name, code, current_price)
  values ('pymilk verify', 'pymilk verify ' || gen_random_uuid(), 50)
  returning id into v_product;
  insert into public.sales (
    customer_id, product_id, quantity, unit_price, total_amount, sale_type, payment_status
  )
  values (v_customer, v_product, 1, 70, 70, 'Credit', 'Pending')
  returning id into v_sale;
  insert into public.sales (
    customer_id, product_id, quantity, unit_price, total_amount, sale_type, payment_status
  )
  values (v_customer, v_product, 1, 80, 80, 'Credit', 'Pending')
  returning id into v_other_sale;
  insert into public.sales (
    customer_id, product_id, quantity, unit_price, total_amount, sale_type, payment_status
  )
  values (v_stranger, v_product, 1, 90, 90, 'Credit', 'Pending')
  returning id into v_strange_sale;
  with route as (
    insert into public.routes (name) values ('pymilk verify') returning id
  )

  insert into public.deliveries (
    customer_id, product_id, route_id, order_date, unit_price, total_amount, delivery_status
  )
  select v_customer, v_product, route.id, '1999-01-05', 50, 50, 'delivered' from route
  returning id into v_delivery;
  insert into public.payments (customer_id, amount, payment_date, payment_method)
  values (v_customer, 100, current_date, 'UPI')
  returning id into v_payment;
  -- what the caller says of a deletion is not believed
  insert into public.invoice_metadata (
    customer_id, invoice_date, period_start, period_end, total_amount, invoice_status, deleted_at
  )
  values (v_customer, '1999-02-01', '1999-01-01', '1999-01-31', 120, 'sent', now())
  returning id into v_invoice;
  insert into public.invoice_metadata (
    customer_id, invoice_date, period_start, period_end, total_amount, invoice_status
  )
  values (v_customer, '1999-03-01', '1999-02-01', '1999-02-28', 80, 'sent')
  returning id into v_other;
  insert into public.invoice_metadata (
    customer_id, invoice_date, period_start, period_end, total_amount, invoice_status
  )
  values (v_customer, '1999-04-01', '1999-03-01', '1999-03-31', 100, 'sent')
  returning id into v_paid;
  insert into public.invoice_payments (payment_id, invoice_id, amount_allocated)
  values (v_payment, v_paid, 100);

  -- billing; nor is what the caller says of `bills`
  insert into public.invoice_line_items (
    invoice_id, line_item_type, sale_id, delivery_id, line_total, bills
  )
  values
  (v_invoice, 'manual_sale', v_sale, null, 70, false),
  (v_invoice, 'subscription', null, v_delivery, 50, true),
  (v_other, 'manual_sale', v_other_sale, null, 80, true);
  update public.invoice_line_items set bills = false where invoice_id = v_other;

  if (select bool_and(line.bills) from public.invoice_line_items as line
    where line.invoice_id in (v_invoice, v_other)) is not true
    or (
      select count(*) from public.sales
      where id in (v_sale, v_other_sale) and payment_status = 'Billed'
    ) <> 2
    or (
      select count(*) from public.invoice_sales_mapping
      where (invoice_id, sale_id) in ((v_invoice, v_sale), (v_other, v_other_sale))
        and released_at is null
    ) <> 2 then
    raise exception 'gap 006: lines of live invoices do not bill their sales';
  end if;

  -- deleting, as the app's role, with a key: the second time changes nothing
  set local role authenticated;
  perform set_config('pymilk.idempotency_key', 'pymilk verify ' || v_invoice, true);
  for v_round in 1..2 loop
    select * into v_answer from public.delete_invoice_safe(v_invoice);
    if (
      v_answer.success, v_answer.invoice_id, v_answer.permanent, v_answer.reverted_sales_count,
      v_answer.line_items_count
    ) is distinct from (true, v_invoice, false, 1, 2) then
      raise exception 'gap 006: deleting answered %, round %', v_answer, v_round;
    end if;
  end loop;
  perform set_config('pymilk.idempotency_key', '', true);
  reset role;

  update public.invoice_line_items set bills = true where invoice_id = v_invoice;
  if exists (
    select from public.invoice_line_items as line where line.invoice_id = v_invoice and line.bills
  ) then
    raise exception 'gap 006: lines of a deleted invoice bill';
  end if;

  if (select payment_status from public.sales where id = v_sale) <> 'Pending'
    or (select payment_status from public.sales where id = v_other_sale) <> 'Billed' then
    raise exception 'gap 006: deleting did not free its own sale alone';
  end if;

  -- refusals, by their reason
  for v_case in
    select *
    from (values
      (1, 'invoice_deleted'),
      (2, 'invoice_holds_money'),
      (3, 'invoice_holds_money'),
      (4, 'invoice_holds_money'),
      (5, 'invoice_not_found'),
      (6, 'invoice_not_deleted'),
      (7, 'invoice_not_found'),
      (8, 'invoice_required'),
      (9, 'invoice_cancelled'),
      (10, 'invoice_metadata_deleted_is_cancelled'),
      (11, 'invoice_line_items_sale_of_customer'),
      (12, 'invoice_line_items_sale_billed_once'),
      (13, 'sales_billed_fixed'),
      (14, 'audit_trail_append_only'),
      (15, 'audit_trail_append_only'),
      (16, 'sale_taken'),
      (17, 'delivery_taken'),
      (18, 'period_taken'),
      (19, 'invoice_line_items_bill'),
      (20, 'invoice_metadata_billing_customer_fixed'),
      (21, 'invoice_line_items_delivery_of_customer'),
      (22, 'invoice_line_items_delivery_delivered'),
      (23, 'billed_changed'),
      (24, 'deliveries_billed_fixed'),
      (25, 'invoice_line_items_billing_fixed'),
      (26, 'invoice_line_items_issued_whole'),
      (27, 'invoice_metadata_issued_whole'),
      (28, 'invoice_line_items_deleted_fixed')
    ) as refused (number, reason)
  loop
    v_reason := 'nothing was refused';
    begin
      case v_case.number
        when 1 then perform public.delete_invoice_safe(v_invoice);
        when 2 then perform public.delete_invoice_safe(v_paid);
        when 3 then perform public.delete_invoice_safe(v_paid, true);
        when 4 then perform public.delete_invoice_and_revert_sales(v_paid);
        when 5 then perform public.delete_invoice_safe(gen_random_uuid());
        when 6 then perform public.recover_invoice(v_other);
        when 7 then perform public.recover_invoice(gen_random_uuid());
        when 8 then perform public.recover_invoice(null);
        when 9 then
          delete from public.invoice_payments where payment_id = v_payment;
          perform public.allocate_payment_atomic(
            v_payment, jsonb_build_array(jsonb_build_object('invoiceId', v_invoice, 'amount', 1))
          );
        when 10 then
          update public.invoice_metadata set invoice_status = 'sent', deleted_at = null
          where id = v_invoice;
        when 11 then
          insert into public.invoice_line_items (invoice_id, sale_id)
          values (v_other, v_strange_sale);
        when 12 then
          insert into public.invoice_line_items (invoice_id, sale_id)
          values (v_paid, v_other_sale);
        when 13 then
          update public.sales set customer_id = v_stranger where id = v_other_sale;
        when 14 then
          update public.audit_trail set reason = 'changed' where entity_id = v_invoice;
        when 15 then
          delete from public.audit_trail where entity_id = v_invoice;
        when 16 then
          insert into public.invoice_line_items (invoice_id, sale_id) values (v_other, v_sale);
          perform public.recover_invoice(v_invoice);
        when 17 then
          insert into public.invoice_line_items (invoice_id, delivery_id)
          values (v_other, v_delivery);
          perform public.recover_invoice(v_invoice);
        when 18 then
          update public.invoice_metadata set period_start = '1999-01-31' where id = v_other;
          perform public.recover_invoice(v_invoice);
        when 19 then
          truncate public.invoice_line_items;
        when 20 then
          update public.invoice_metadata set customer_id = v_stranger where id = v_other;
        when 21 then
          update public.deliveries set customer_id = v_stranger where id = v_delivery;
          insert into public.invoice_line_items (invoice_id, delivery_id)
          values (v_other, v_delivery);
        when 22 then
          update public.deliveries set delivery_status = 'pending' where id = v_delivery;
          insert into public.invoice_line_items (invoice_id, delivery_id)
          values (v_other, v_delivery);
        when 23 then
          update public.deliveries set delivery_status = 'cancelled' where id = v_delivery;
          perform public.recover_invoice(v_invoice);
        when 24 then
          insert into public.invoice_line_items (invoice_id, delivery_id)
          values (v_other, v_delivery);
          update public.deliveries set total_amount = 60 where id = v_delivery;
        when 25 then
          update public.invoice_line_items set sale_id = null where invoice_id = v_other;
        when 26 then
          update public.invoice_line_items set line_total = 0 where invoice_id = v_other;
        when 27 then
          update public.invoice_metadata set total_amount = 81 where id = v_other;
        when 28 then
          delete from public.invoice_line_items where invoice_id = v_invoice;
      end case;
    exception
      when sqlstate 'PT400' or sqlstate 'PT404' or sqlstate 'PT409' then
        v_reason := sqlerrm;
      when check_violation or unique_violation then
        get stacked diagnostics v_reason = constraint_name;
    end;
    if v_reason <> v_case.reason then
      raise exception 'gap 006: instead of %: %', v_case.reason, v_reason;
    end if;
  end loop;

  -- recovering, as the back office's role
  set local role service_role;
  select * into v_again from public.recover_invoice(v_invoice);
  reset role;
  if (
    v_again.success, v_again.invoice_id, v_again.invoice_status, v_again.billed_sales_count,
    v_again.line_items_count
  ) is distinct from (true, v_invoice, 'sent', 1, 2)
    or (select payment_status from public.sales where id = v_sale) <> 'Billed'
    or exists (
      select from public.invoice_metadata where id = v_invoice and deleted_at is not null
    ) then
    raise exception 'gap 006: recovering answered %', v_again;
  end if;

  v_reason := 'nothing was refused';
  begin
    insert into public.invoice_line_items (invoice_id, delivery_id) values (v_other, v_delivery);
  exception
    when unique_violation then
      v_reason := 'billed once';
  end;
  if v_reason <> 'billed once' then
    raise exception 'gap 006: a delivery is billed twice: %', v_reason;
  end if;

  -- cancelling and un-cancelling, directly
  update public.invoice_metadata set invoice_status = 'cancelled' where id = v_other;
  if (select payment_status from public.sales where id = v_other_sale) <> 'Pending' then
    raise exception 'gap 006: a cancelled invoice still bills its sale';
  end if;
  update public.invoice_metadata set invoice_status = 'sent' where id = v_other;
  update public.sales set payment_status = 'Pending' where id = v_other_sale;
  if (select payment_status from public.sales where id = v_other_sale) <> 'Billed' then
    raise exception 'gap 006: an un-cancelled invoice does not bill its sale';
  end if;

  -- and inside of a trigger of the project's
  insert into pymilk_verify_written (command)
  values (format('select public.delete_invoice_safe(%L)', v_other));
  if (select payment_status from public.sales where id = v_other_sale) <> 'Pending' then
    raise exception 'gap 006: an invoice that a trigger deletes still bills its sale';
  end if;
  insert into pymilk_verify_written (command)
  values (format('select public.recover_invoice(%L)', v_other));
  if (select payment_status from public.sales where id = v_other_sale) <> 'Billed' then
    raise exception 'gap 006: an invoice that a trigger recovers does not bill its sale';
  end if;
  v_reason := 'nothing was refused';
  begin
    insert into pymilk_verify_written (command)
    values (
      format('update public.invoice_line_items set line_total = 1 where invoice_id = %L', v_other)
    );
  exception
    when feature_not_supported then
      v_reason := 'refused';
  end;
  if v_reason <> 'refused' then
    raise exception 'gap 006: a trigger changes what a line comes to: %', v_reason;
  end if;

  -- the app's own way, as its role: for good; then lines alone
  set local role authenticated;
  v_json := public.delete_invoice_and_revert_sales(v_invoice);
  reset role;
  if v_json - 'invoice_number' is distinct from jsonb_build_object(
    'success', true, 'reverted_sales_count', 1, 'deleted_line_items_count', 2
  ) then
    raise exception 'gap 006: the app''s own delete answered %', v_json;
  end if;
  delete from public.invoice_line_items where invoice_id = v_other;
  if (
    select count(*) from public.sales
    where id in (v_sale, v_other_sale) and payment_status = 'Pending'
  ) <> 2 then
    raise exception 'gap 006: what is gone still bills its sales';
  end if;

  if (select invoice_status from public.invoice_metadata where id = v_other) <> 'draft' then
    raise exception 'gap 006: an invoice without its lines is still owed';
  end if;

  -- the trail: what happened, and nothing when counters move
  if (
    select string_agg(entry.action, ' ' order by entry.id)
    from public.audit_trail as entry
    where entry.entity_id = v_invoice
  ) is distinct from 'created deleted recovered lines_removed removed' then
    raise exception 'gap 006: the trail of an invoice is %', (
      select string_agg(entry.action, ' ' order by entry.id)
      from public.audit_trail as entry
      where entry.entity_id = v_invoice
    );
  end if;

  -- of its own rows alone: customers go on meanwhile
  select count(*) into v_entries
  from public.audit_trail as entry
  where entry.entity_id in (v_payment, v_paid, v_customer);
  delete from public.invoice_payments where payment_id = v_payment;
  perform public.allocate_payment_atomic(
    v_payment, jsonb_build_array(jsonb_build_object('invoiceId', v_paid, 'amount', 1))
  );
  if (
    select count(*) from public.audit_trail as entry
    where entry.entity_id in (v_payment, v_paid, v_customer)
  ) <> v_entries then
    raise exception 'gap 006: moving money writes into the audit trail';
  end if;
  update public.payments set notes = 'pymilk verify' where id = v_payment;
  update public.customers set opening_balance = 1 where id = v_customer;
  if (
    select count(*) from public.audit_trail as entry
    where entry.entity_id in (v_payment, v_paid, v_customer)
  ) <> v_entries + 2 then
    raise exception 'gap 006: edits are missing in the audit trail';
  end if;
end;
$$;
