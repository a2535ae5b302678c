-- Shows that harden_access is in effect: asks the catalog about everything in schema public, lets
-- each role try, makes things and looks whose they are, and raises unless the matrix holds.
--
-- A table or function that the matrix doesn't know is measured as well: nothing for anon, row
-- security on. The runner rolls it back. It runs as the owner, beside whatever data is there.

-- what the catalog says ---------------------------------------------------------------------------

do $$
declare
  v_found text;
  v_role text;
  v_table regclass;
  v_function regprocedure;
  v_privilege text;
begin
  select string_agg(found.oid::regclass::text, ', ' order by found.relname) into v_found
  from pg_class as found
  where found.relnamespace = 'public'::regnamespace
    and found.relkind in ('r', 'p')
    and not found.relrowsecurity;
  if v_found is not null then
    raise exception 'harden_access: row level security is off on %', v_found;
  end if;

  select string_agg(
    distinct held.privilege_type || ' on ' || made.name, ', '
    order by held.privilege_type || ' on ' || made.name
  ) into v_found
  from (
    select found.oid::regclass::text as name, found.relacl as acl
    from pg_class as found
    where found.relnamespace in ('public'::regnamespace, 'private'::regnamespace)
      and found.relowner = current_user::regrole
    union all
    select found.attrelid::regclass::text || '.' || found.attname, found.attacl
    from pg_attribute as found
    inner join pg_class as owned on found.attrelid = owned.oid
    where owned.relnamespace in ('public'::regnamespace, 'private'::regnamespace)
      and owned.relowner = current_user::regrole
    union all
    select
      found.oid::regprocedure::text,
      coalesce(found.proacl, acldefault('f', found.proowner))
    from pg_proc as found
    where found.pronamespace in ('public'::regnamespace, 'private'::regnamespace)
      and found.proowner = current_user::regrole
      and found.oid <> 'private.outside_our_triggers()'::regprocedure
    union all
    select 'what is made later', said.defaclacl
    from pg_default_acl as said
    where said.defaclrole = current_user::regrole
      and said.defaclnamespace in (0, 'public'::regnamespace)
  ) as made
  cross join lateral aclexplode(nullif(made.acl, '{}')) as held
  where held.grantee in (0, 'anon'::regrole);
  if v_found is not null then
    raise exception 'harden_access: anon, or everybody, has %', v_found;
  end if;

  select string_agg(held.privilege_type || ' on ' || found.oid::regclass, ', ') into v_found
  from pg_class as found
  cross join lateral aclexplode(found.relacl) as held
  where found.relnamespace = 'public'::regnamespace
    and found.relkind in ('r', 'p')
    and held.grantee in ('authenticated'::regrole, 'service_role'::regrole)
    and held.privilege_type not in ('SELECT', 'INSERT', 'UPDATE', 'DELETE');
  if v_found is not null then
    raise exception 'harden_access: the roles of the API have %', v_found;
  end if;

  foreach v_role in array array['authenticated', 'service_role'] loop
    foreach v_table in array array[
      'public.base_subscriptions',
      'public.customers',
      'public.daily_orders',
      'public.deliveries',
      'public.invoice_line_items',
      'public.invoice_metadata',
      'public.invoice_payments',
      'public.modifications',
      'public.opening_balance_payments',
      'public.payments',
      'public.product_pricing_history',
      'public.products',
      'public.routes',
      'public.sales',
      'public.sales_payments',
      'public.unapplied_payments'
    ]::regclass[] loop
      foreach v_privilege in array array['select', 'insert', 'update', 'delete'] loop
        if not has_table_privilege(v_role, v_table, v_privilege) then
          raise exception 'harden_access: % cannot % %', v_role, v_privilege, v_table;
        end if;
      end loop;
    end loop;

    foreach v_table in array array[
      'public.audit_trail',
      'public.bulk_operation_logs',
      'public.invoice_counters',
      'public.invoice_sales_mapping'
    ]::regclass[] loop
      if not has_table_privilege(v_role, v_table, 'select') then
        raise exception 'harden_access: % cannot read %', v_role, v_table;
      end if;
      if has_any_column_privilege(v_role, v_table, 'insert, update')
        or has_table_privilege(v_role, v_table, 'delete') then
        raise exception 'harden_access: % writes what the database keeps: %', v_role, v_table;
      end if;
    end loop;

    foreach v_function in array array[
      'public.calculate_customer_outstanding(uuid)',
      'public.delete_invoice_and_revert_sales(uuid)',
      'public.get_next_invoice_sequence(text)',
      'public.update_invoice_status(uuid)',
      'public.update_invoice_status_with_sales_completion(uuid)'
    ]::regprocedure[] loop
      if not has_function_privilege(v_role, v_function, 'execute') then
        raise exception 'harden_access: % cannot execute %', v_role, v_function;
      end if;
    end loop;
  end loop;

  foreach v_function in array (
    select array_agg(found.oid::regprocedure)
    from pg_proc as found
    where found.pronamespace = 'public'::regnamespace
      and found.proowner = current_user::regrole
      and found.prorettype <> 'trigger'::regtype
  ) loop
    if not has_function_privilege('service_role', v_function, 'execute') then
      raise exception 'harden_access: service_role cannot execute %', v_function;
    end if;
  end loop;
end;
$$;

-- what the roles see and are refused --------------------------------------------------------------

do $$
declare
  v_customer uuid;
  v_invoice uuid;
  v_payment uuid;
  v_case record;
  v_refused boolean;
begin
  -- the app records and reads, under row security
  set local role authenticated;
  insert into public.customers (billing_name) values ('pymilk verify')
  returning id into v_customer;
  insert into public.payments (customer_id, amount, payment_date)
  values (v_customer, 800, current_date)
  returning id into v_payment;
  insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied)
  values (v_customer, v_payment, 800);
  insert into public.invoice_metadata (
    customer_id, invoice_date, period_start, period_end, total_amount, invoice_status
  )
  values (v_customer, current_date, current_date, current_date, 1000, 'sent')
  returning id into v_invoice;
  insert into public.invoice_line_items (invoice_id, line_item_type, line_total)
  values (v_invoice, 'adjustment', 1000);
  insert into public.invoice_payments (invoice_id, payment_id, amount_allocated)
  values (v_invoice, v_payment, 300);

  if (
    select count(*)
    from public.invoice_payments as allocation
    inner join public.invoice_line_items as line on allocation.invoice_id = line.invoice_id
    inner join public.unapplied_payments as mirror on allocation.payment_id = mirror.payment_id
    where allocation.payment_id = v_payment and mirror.amount_unapplied = 500
  ) <> 1 then
    raise exception 'harden_access: the app does not see what it wrote';
  end if;

  update public.invoice_line_items set product_name = 'Milk' where invoice_id = v_invoice;
  if not found then
    raise exception 'harden_access: the app cannot edit the line of an invoice';
  end if;
  delete from public.invoice_payments where payment_id = v_payment;
  if not found then
    raise exception 'harden_access: the app cannot take an allocation off';
  end if;
  reset role;

  for v_case in
    select step.number, role.name as role
    from generate_series(1, 9) as step (number)
    cross join unnest(array['anon', 'authenticated', 'service_role']) as role (name)
    -- the first three are the app's own
    where step.number > 3 or role.name = 'anon'
  loop
    v_refused := false;
    begin
      perform set_config('role', v_case.role, true);
      case v_case.number
        when 1 then perform from public.customers;
        when 2 then perform public.business_today();
        when 3 then perform public.update_invoice_status(v_invoice);
        when 4 then truncate public.routes cascade;
        when 5 then insert into public.audit_trail (recorded_by, action, entity)
          values ('nobody', 'none', 'nothing');
        when 6 then update public.invoice_counters set last_number = 0 where last_number > 0;
        when 7 then delete from public.bulk_operation_logs where id is null;
        when 8 then perform from private.request_keys;
        when 9 then insert into public.invoice_sales_mapping (invoice_id, sale_id)
          values (v_invoice, v_invoice);
      end case;
    exception
      when insufficient_privilege then
        v_refused := true;
    end;
    if not v_refused then
      raise exception 'harden_access: % may do step %', v_case.role, v_case.number;
    end if;
  end loop;
  reset role;
end;
$$;

-- whose it is what is made later ------------------------------------------------------------------

create table public.pymilk_verify (id bigint generated always as identity);
create function public.pymilk_verify()
returns void
language sql
as '';

do $$
declare
  v_role text;
begin
  foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
    if has_any_column_privilege(v_role, 'public.pymilk_verify', 'select, insert, update')
      or has_table_privilege(v_role, 'public.pymilk_verify', 'delete, truncate')
      or has_sequence_privilege(v_role, 'public.pymilk_verify_id_seq', 'usage, select, update')
      or has_function_privilege(v_role, 'public.pymilk_verify()', 'execute') then
      raise exception 'harden_access: % is given what is made later', v_role;
    end if;
  end loop;
end;
$$;
