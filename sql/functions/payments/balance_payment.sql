-- Ends a change of a payment's allocations: brings unapplied_payments in line and reads the payment
-- back. A payment without a customer has no row there, whatever is left of it.
--
-- Locks: the caller holds the payment.

create or replace function private.balance_payment(
  p_payment_id uuid,
  out payment_amount numeric,
  out total_allocated numeric,
  out unapplied_amount numeric,
  out allocation_status text
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_customer_id uuid;
begin
  select
    payment.amount,
    payment.amount_applied,
    payment.amount_unapplied,
    payment.allocation_status,
    payment.customer_id
  into payment_amount, total_allocated, unapplied_amount, allocation_status, v_customer_id
  from public.payments as payment
  where payment.id = p_payment_id;

  -- write
  perform private.mirror_unapplied(
    p_payment_id,
    v_customer_id,
    case when v_customer_id is null then 0 else unapplied_amount end
  );
end;
$$;

comment on function private.balance_payment(uuid) is
'Brings unapplied_payments in line with a payment, and reads the payment back.';

revoke all on function private.balance_payment(uuid) from public, anon, authenticated, service_role;
