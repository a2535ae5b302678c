-- Every broken invariant of payment methods, one row each; a part of check_payment_invariants.
-- Voided payments are left as they were.
--
-- Locks: none. It reads one snapshot.

create or replace function private.check_payment_methods()
returns table (
  invariant text,
  entity text,
  entity_id text,
  expected text,
  found text
)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- return
  return query
  select
    'payment_methods_canonical',
    'payment',
    payment.id::text,
    'Cash, UPI, Bank Transfer, Cheque, Online, Card or none',
    left(payment.payment_method, 200)
  from public.payments as payment
  where payment.voided_at is null
    and payment.payment_method
    is distinct from nullif(private.canonical_payment_method(payment.payment_method), '')
  union all
  select
    'payment_methods_within_limits',
    'payment',
    payment.id::text,
    concat(payment.payment_method, ' of ', limits.least_amount, ' to ', limits.most_amount),
    payment.amount::text
  from public.payments as payment
  cross join lateral private.payment_method_limits(payment.payment_method) as limits
  where payment.voided_at is null
    and payment.payment_method
    = nullif(private.canonical_payment_method(payment.payment_method), '')
    and payment.amount not between limits.least_amount and limits.most_amount;
end;
$$;

comment on function private.check_payment_methods() is
'Every broken invariant of payment methods as a row; none when all is well.';

revoke all on function private.check_payment_methods()
from public, anon, authenticated, service_role;
