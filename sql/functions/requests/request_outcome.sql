-- What became of the caller's own request: `unknown` (it never came, was refused, or is older than
-- 30 days), `done` (with its answer) or `undone`.
--
-- It waits for a call with that key that is still in flight, so that `unknown` is final for a call
-- that had reached the database. With one key used on several functions, the newest counts; the
-- rollback that undid a call only where the call itself is not known.
--
-- Locks: the key (lock_request).

create or replace function public.request_outcome(
  p_key text,
  out outcome text,
  out function_name text,
  out answer jsonb,
  out recorded_at timestamptz
)
returns record
language plpgsql
volatile
security definer -- the keys are kept in a schema that no caller may read
set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller text := private.caller();
  v_request private.request_keys;
begin
  if p_key is null or length(p_key) > 200 or btrim(p_key) = '' then
    raise exception using
      errcode = 'PT400',
      message = 'idempotency_key_invalid',
      detail = jsonb_build_object('length', length(p_key), 'longest', 200)::text,
      hint = 'Ask with the key of 1 to 200 characters that the call was sent with.';
  end if;

  -- lock
  perform private.lock_request(v_caller, p_key);

  -- return
  select request.* into v_request
  from private.request_keys as request
  where request.caller = v_caller
    and request.key = p_key
    and request.recorded_at > now() - interval '30 days'
  order by request.function_name = 'rollback_partial_allocation', request.recorded_at desc
  limit 1;

  outcome := case
    when v_request.key is null then 'unknown'
    when v_request.undone_at is not null then 'undone'
    else 'done'
  end;
  function_name := v_request.function_name;
  answer := v_request.answer;
  recorded_at := v_request.recorded_at;
end;
$$;

comment on function public.request_outcome(text) is
'What became of the caller''s own request with this idempotency key.

Unknown is final for a call that had reached the database: one still in flight is waited for.

p_key: the key that the call was made under
outcome "unknown" | "done" | "undone"
function_name: what was called
answer: what it answered
never null: outcome';

revoke all on function public.request_outcome(text) from public, anon, authenticated, service_role;
grant execute on function public.request_outcome(text) to authenticated, service_role;
