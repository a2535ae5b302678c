-- Undoes what one call allocated of a payment (to its invoices, its customer's opening balance and
-- sales), or, without a call, what direct writes allocated in the last 15 minutes: the core under
-- rollback_partial_allocation.
--
-- Locks: the caller holds the payment, its customer, its invoices and sales.

create or replace function private.undo_call(
  p_payment_id uuid,
  p_call_id uuid,
  out affected_invoices integer,
  out removed_amount numeric
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- write
  select undone.affected_invoices, undone.removed_amount into affected_invoices, removed_amount
  from private.undo_invoice_payments(p_payment_id, p_call_id) as undone;

  removed_amount := removed_amount + private.undo_settlements(p_payment_id, p_call_id);
end;
$$;

comment on function private.undo_call(uuid, uuid) is
'Undoes what one call, or the direct writes of the last minutes, allocated of a payment.';

revoke all on function private.undo_call(uuid, uuid)
from public, anon, authenticated, service_role;
