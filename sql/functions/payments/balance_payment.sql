-- Reads a payment back after a change of its allocations: what it says of itself follows from them.
--
-- Locks: none; the caller holds the payment.

create or replace function private.balance_payment(
  p_payment_id uuid,
  out payment_amount numeric,
  out total_allocated numeric,
  out unapplied_amount numeric,
  out allocation_status text
)
returns record
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- return
  select
    payment.amount,
    payment.amount_applied,
    payment.amount_unapplied,
    payment.allocation_status
  into payment_amount, total_allocated, unapplied_amount, allocation_status
  from public.payments as payment
  where payment.id = p_payment_id;
end;
$$;

comment on function private.balance_payment(uuid) is
'Reads back what a payment says of itself.';

revoke all on function private.balance_payment(uuid) from public, anon, authenticated, service_role;
