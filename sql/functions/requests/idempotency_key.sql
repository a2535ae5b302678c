-- The idempotency key that came with the call: the request header Idempotency-Key (PostgREST shows
-- headers in lower case), or the setting pymilk.idempotency_key on a direct connection. Null when
-- there is none.
--
-- Locks: none.

create or replace function private.idempotency_key()
returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_key text := coalesce(
    nullif(current_setting('request.headers', true), '')::json ->> 'idempotency-key',
    nullif(current_setting('pymilk.idempotency_key', true), '')
  );
begin
  if length(v_key) > 200 or btrim(v_key) = '' then
    raise exception using
      errcode = 'PT400',
      message = 'idempotency_key_invalid',
      detail = jsonb_build_object('length', length(v_key), 'longest', 200)::text,
      hint = 'Send a key of 1 to 200 characters, such as a fresh uuid for each payment run.';
  end if;

  return v_key;
end;
$$;

comment on function private.idempotency_key() is
'This call''s idempotency key: header Idempotency-Key or setting pymilk.idempotency_key.';

revoke all on function private.idempotency_key() from public, anon, authenticated, service_role;
