-- The method of a payment has one name: Cash, UPI, Bank Transfer, Cheque, Online or Card, or none.
-- do: write the name; from gap 009 on whatever people call it becomes that name.
with absent as (
  select null::timestamptz as voided_at
)

select
  'payment' as entity,
  payment.id::text as entity_id,
  'Cash, UPI, Bank Transfer, Cheque, Online, Card or none' as expected,
  left(payment.payment_method, 200) as found
from absent
cross join public.payments as payment
cross join lateral (select voided_at from (select payment.*) as whole) as voiding -- noqa: RF02,ST05
where
  payment.payment_method not in ('Cash', 'UPI', 'Bank Transfer', 'Cheque', 'Online', 'Card')
  -- the column comes with the gap that can void a payment; before it, absent's is meant
  and voiding.voided_at is null;
