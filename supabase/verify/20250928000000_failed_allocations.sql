-- Shows that failed_allocations is in effect: reports as each role, reads, empties what is old, and
-- raises unless all holds.
--
-- The runner rolls it back. It runs as the owner, beside whatever data is there.

-- what the roles may do ---------------------------------------------------------------------------

do $$
declare
  v_role text;
begin
  foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
    if has_function_privilege(
      v_role, 'public.report_failed_allocation(text, text, uuid, text, jsonb)', 'execute'
    ) <> (v_role <> 'anon') then
      raise exception 'failed_allocations: % % report', v_role,
        case when v_role = 'anon' then 'can' else 'cannot' end;
    end if;
    if has_table_privilege(v_role, 'public.failed_allocations', 'select') <> (v_role <> 'anon') then
      raise exception 'failed_allocations: % % read', v_role,
        case when v_role = 'anon' then 'can' else 'cannot' end;
    end if;
    if has_any_column_privilege(v_role, 'public.failed_allocations', 'insert, update, references')
      or has_table_privilege(v_role, 'public.failed_allocations', 'delete, truncate, trigger')
      or has_sequence_privilege(
        v_role, 'public.failed_allocations_id_seq', 'usage, select, update'
      ) then
      raise exception 'failed_allocations: % writes what the database keeps', v_role;
    end if;
  end loop;

  if not (
    select found.relrowsecurity from pg_class as found
    where found.oid = 'public.failed_allocations'::regclass
  ) then
    raise exception 'failed_allocations: row level security is off';
  end if;
  if (
    select count(*) from pg_proc
    where pronamespace = 'public'::regnamespace and proname = 'report_failed_allocation'
  ) <> 1 then
    raise exception 'failed_allocations: the function is overloaded, which the API cannot call';
  end if;
end;
$$;

-- what is written, and what is not ----------------------------------------------------------------

do $$
declare
  v_payment uuid := gen_random_uuid();
  v_old bigint[];
  v_found public.failed_allocations;
  v_reason text;
  v_case record;
begin
  insert into public.failed_allocations (
    reported_at, function_name, reason, payment_id, idempotency_key, detail, reported_by
  )
  select
    now() - interval '90 days', 'pymilk_verify', 'old', v_payment, 'key', '{"a": 1}', 'somebody'
  from generate_series(1, 2);
  select array_agg(id) into v_old
  from public.failed_allocations where payment_id = v_payment;

  for v_case in select * from unnest(array['authenticated', 'service_role']) as role (name) loop
    perform set_config('role', v_case.name, true);
    perform public.report_failed_allocation(
      'pymilk_verify',
      'refused_' || v_case.name,
      v_payment,
      'till/1',
      jsonb_build_object(
        'requested', 900.50, 'available', '800.00', 'invoice_id', v_payment, 'day', '2025-09-11',
        'given', 'Ramesh, 98 200', 'list', '[1]'::jsonb, 'Ramesh Patil', 1
      )
    );
    select report.* into v_found
    from public.failed_allocations as report
    where report.function_name = 'pymilk_verify' and report.reason = 'refused_' || v_case.name;
    perform set_config('role', 'none', true);
    if v_found.payment_id is distinct from v_payment
      or v_found.idempotency_key is distinct from 'till/1'
      or v_found.reported_by is null
      or v_found.reported_at < now() then
      raise exception 'failed_allocations: the report of % says %', v_case.name, v_found;
    end if;
    if v_found.detail is distinct from jsonb_build_object(
      'requested', 900.50, 'available', '800.00', 'invoice_id', v_payment, 'day', '2025-09-11'
    ) then
      raise exception 'failed_allocations: kept of the facts: %', v_found.detail;
    end if;
  end loop;

  -- others may have old rows as well; each report empties the oldest first
  for v_found in
    select report.* from public.failed_allocations as report where report.id = any(v_old)
  loop
    if v_found.function_name <> 'pymilk_verify' or v_found.reason <> 'old' then
      raise exception 'failed_allocations: what failed was emptied as well: %', v_found;
    end if;
    if v_found.reported_by is not null and not exists (
      select from public.failed_allocations as report
      where report.reported_by is null and report.reported_at <= v_found.reported_at
    ) then
      raise exception 'failed_allocations: after 90 days it is whole still: %', v_found;
    end if;
  end loop;

  for v_case in
    select *
    from (values
      ('', 'r', null, '{}'), ('f', null, null, '{}'), ('f', 'Ramesh cannot pay', null, '{}'),
      ('f', 'r', ' ', '{}'), ('f', 'r', repeat('k', 201), '{}'), ('f', 'r', null, '[]')
    ) as wrong (function_name, reason, key, detail)
  loop
    v_reason := 'nothing was refused';
    set local role authenticated;
    begin
      perform public.report_failed_allocation(
        v_case.function_name, v_case.reason, null, v_case.key, v_case.detail::jsonb
      );
    exception
      when sqlstate 'PT400' then
        v_reason := sqlerrm;
    end;
    reset role;
    if v_reason <> 'report_invalid' then
      raise exception 'failed_allocations: %: %', v_case, v_reason;
    end if;
  end loop;
end;
$$;
