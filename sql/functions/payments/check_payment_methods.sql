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
  -- some methods, many payments: a method is looked at once
  with method as materialized (
    select
      known.written,
      nullif(private.canonical_payment_method(known.written), '') as canonical
    from (
      select payment.payment_method as written
      from public.payments as payment
      where payment.payment_method is not null
      group by payment.payment_method
    ) as known
  )

  select
    'payment_methods_canonical',
    'payment',
    payment.id::text,
    'Cash, UPI, Bank Transfer, Cheque, Online, Card or none',
    left(payment.payment_method, 200)
  from method
  inner join public.payments as payment on method.written = payment.payment_method
  where payment.voided_at is null
    and method.written is distinct from method.canonical
  union all
  select
    'payment_methods_within_limits',
    'payment',
    payment.id::text,
    concat(payment.payment_method, ' of ', limits.least_amount, ' to ', limits.most_amount),
    payment.amount::text
  from method
  cross join lateral private.payment_method_limits(method.written) as limits
  inner join public.payments as payment on method.written = payment.payment_method
  where payment.voided_at is null
    and method.written = method.canonical
    and payment.amount not between limits.least_amount and limits.most_amount;
end;
$$;

comment on function private.check_payment_methods() is
'Every broken invariant of payment methods as a row; none when all is well.';

revoke all on function private.check_payment_methods()
from public, anon, authenticated, service_role;
