-- Takes the lock of a caller's key until the transaction ends: two calls with one key queue, and
-- whoever asks for a key's outcome waits for the call that is still in flight.
--
-- The function's name is left out of the lock although it is part of the key: a caller who asks
-- for an outcome knows only the key.
--
-- Locks: an advisory one, before any row (key, customers, payments, invoices, sales).

create or replace function private.lock_request(p_caller text, p_key text)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pg_advisory_xact_lock(
    hashtextextended(jsonb_build_array('pymilk request', p_caller, p_key)::text, 0)
  );
end;
$$;

comment on function private.lock_request(text, text) is
'Holds a caller''s idempotency key until the transaction ends.';

revoke all on function private.lock_request(text, text)
from public, anon, authenticated, service_role;
