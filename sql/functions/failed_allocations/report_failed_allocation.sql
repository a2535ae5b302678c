-- Writes down that a call failed, as its client saw it: called after it, in a transaction of its
-- own, because a refusal rolls back all that its call wrote.
--
-- p_function, p_reason: a word each, such as allocate_payment_atomic, allocation_exceeds_payment;
--   for what has no reason of its own, its SQLSTATE.
-- p_key: the idempotency key that the call was made under; request_outcome tells what became of it.
-- p_detail: the facts of the refusal. Numbers, ids and days of it are kept; what somebody has typed,
--   a name perhaps, is not, nor is anything where that makes more than 4 kB.
-- Retention: after 90 days a row keeps when, what and why, and nothing that leads to a person; a few
--   such rows are emptied with each report.
-- Refusals: PT400 report_invalid
-- Locks: rows of its own table that are 90 days old, past those that somebody else holds.

create or replace function public.report_failed_allocation(
  p_function text,
  p_reason text,
  p_payment_id uuid default null,
  p_key text default null,
  p_detail jsonb default '{}'
)
returns void
language plpgsql
volatile
security definer -- a report says who makes it, and nobody changes one
set search_path = pg_catalog, pg_temp
as $$
declare
  v_fault text;
  v_facts jsonb;
begin
  -- check
  v_fault := case
    when p_function is null or p_function !~ '^[A-Za-z0-9_]{1,100}$' then 'p_function'
    when p_reason is null or p_reason !~ '^[A-Za-z0-9_]{1,100}$' then 'p_reason'
    when length(p_key) > 200 or btrim(p_key) = '' then 'p_key'
    when jsonb_typeof(p_detail) <> 'object' then 'p_detail'
  end;
  if v_fault is not null then
    raise exception using
      errcode = 'PT400',
      message = 'report_invalid',
      detail = jsonb_build_object('field', v_fault)::text,
      hint = 'Name function and reason in a word each, a key as it was sent, facts as an object.';
  end if;

  select jsonb_object_agg(fact.key, fact.value) into v_facts
  from jsonb_each(p_detail) as fact
  where fact.key ~ '^[a-z0-9_]{1,63}$'
    and (
      jsonb_typeof(fact.value) in ('number', 'boolean')
      or (
        jsonb_typeof(fact.value) = 'string'
        and fact.value #>> '{}' ~ (
          '^(-?[0-9]{1,12}(\.[0-9]{1,12})?'
          '|[0-9]{4}-[0-9]{2}-[0-9]{2}'
          '|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$'
        )
      )
    );
  if pg_column_size(v_facts) > 4096 then
    v_facts := null;
  end if;

  -- write
  insert into public.failed_allocations (
    function_name, reason, payment_id, idempotency_key, detail, reported_by
  )
  values (
    p_function, p_reason, p_payment_id, p_key, coalesce(v_facts, '{}'), private.caller()
  );

  update public.failed_allocations as report
  set payment_id = null, idempotency_key = null, detail = '{}', reported_by = null
  where report.id in (
    select old.id
    from public.failed_allocations as old
    where old.reported_at <= now() - interval '90 days'
      and old.reported_by is not null
    order by old.reported_at
    limit 20
    for update skip locked
  );
end;
$$;

comment on function public.report_failed_allocation(text, text, uuid, text, jsonb) is
'Writes down that a call failed, in a transaction of its own; of its facts numbers, ids and days.

p_function: what was called, such as allocate_payment_atomic
p_reason: why it failed, in a word: the refusal''s reason, else its SQLSTATE
p_payment_id: the payment that it named, if any
p_key: the idempotency key that it was made under, if any
p_detail {*: jsonb}: the facts of the refusal';

revoke all on function public.report_failed_allocation(text, text, uuid, text, jsonb)
from public, anon, authenticated, service_role;
grant execute on function public.report_failed_allocation(text, text, uuid, text, jsonb)
to authenticated, service_role;
