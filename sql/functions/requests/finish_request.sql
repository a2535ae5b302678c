-- Ends a call: keeps its answer under its key (nothing without a key), in the transaction of what
-- the call wrote. A refused call rolls back and leaves no key.
--
-- Locks: none; claim_request holds the key.

create or replace function private.finish_request(
  p_function_name text,
  p_key text,
  p_arguments jsonb,
  p_call_id uuid,
  p_answer jsonb
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_key is null then
    return;
  end if;

  -- write
  insert into private.request_keys as request (
    caller, function_name, key, arguments, call_id, answer
  )
  values (private.caller(), p_function_name, p_key, p_arguments, p_call_id, p_answer)
  on conflict (caller, function_name, key) do update
  set
    arguments = excluded.arguments,
    call_id = excluded.call_id,
    answer = excluded.answer,
    undone_at = null,
    recorded_at = excluded.recorded_at
  where request.recorded_at <= now() - interval '30 days';
end;
$$;

comment on function private.finish_request(text, text, jsonb, uuid, jsonb) is
'Ends a call: keeps its answer under its idempotency key.';

revoke all on function private.finish_request(text, text, jsonb, uuid, jsonb)
from public, anon, authenticated, service_role;
