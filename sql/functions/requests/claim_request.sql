-- Begins a call that may carry an idempotency key: gives it an id, and the first answer when the
-- same key with the same arguments was answered before.
--
-- p_arguments are canonical (uuids, trimmed numerics, one spelling), so that two spellings of the
-- same request compare equal. A key lives 30 days; a claim sweeps a few expired ones away. A call
-- that allocates and comes after its key was rolled back is refused, whatever its function; one that
-- had come before gets its answer as long as it was not undone itself, whatever else the key named.
--
-- Locks: the key (lock_request), before any row.

create or replace function private.claim_request(
  p_function_name text,
  p_key text,
  p_arguments jsonb,
  out call_id uuid,
  out answer jsonb
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller text;
  v_functions text[] := array[p_function_name];
  v_earlier private.request_keys;
begin
  call_id := gen_random_uuid();
  if p_key is null then
    return;
  end if;

  -- lock
  v_caller := private.caller();
  perform private.lock_request(v_caller, p_key);

  if p_function_name = any(private.undoable_functions()) then
    v_functions := v_functions || 'rollback_partial_allocation'::text;
  end if;

  -- check
  select request.* into v_earlier
  from private.request_keys as request
  where request.caller = v_caller
    and request.function_name = any(v_functions)
    and request.key = p_key
    and request.recorded_at > now() - interval '30 days'
  order by request.function_name = p_function_name desc
  limit 1;

  if found and v_earlier.undone_at is not null then
    raise exception using
      errcode = 'PT409',
      message = 'request_undone',
      detail = jsonb_build_object('key', p_key, 'undone_at', v_earlier.undone_at)::text,
      hint = 'This call was undone under its key; make a new call with a new key.';
  elsif found and v_earlier.arguments is distinct from p_arguments then
    raise exception using
      errcode = 'PT409',
      message = 'idempotency_key_reused',
      detail = jsonb_build_object('key', p_key, 'first_used_at', v_earlier.recorded_at)::text,
      hint = 'The key was used with other arguments; a new request needs a new key.';
  elsif found then
    call_id := v_earlier.call_id;
    answer := v_earlier.answer;
    return;
  end if;

  -- write
  delete from private.request_keys as request
  where request.ctid in (
    select expired.ctid
    from private.request_keys as expired
    where expired.recorded_at <= now() - interval '30 days'
    order by expired.recorded_at
    limit 20
    for update skip locked
  );
end;
$$;

comment on function private.claim_request(text, text, jsonb) is
'Begins a call: its id, and the first answer when this key was answered before.';

revoke all on function private.claim_request(text, text, jsonb)
from public, anon, authenticated, service_role;
