-- The functions whose calls rollback_partial_allocation undoes by their key: those that allocate.
--
-- Their requests keep the payment as payment_id, in the arguments or, where the call makes the
-- payment itself, in the answer.
--
-- Locks: none.

create or replace function private.undoable_functions()
returns text[]
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return array[
    'allocate_payment_atomic',
    'allocate_opening_balance_atomic',
    'allocate_payment_to_sales_atomic',
    'auto_allocate_payment',
    'record_payment_atomic'
  ];
end;
$$;

comment on function private.undoable_functions() is
'The functions whose calls can be undone by their idempotency key.';

revoke all on function private.undoable_functions() from public, anon, authenticated, service_role;
