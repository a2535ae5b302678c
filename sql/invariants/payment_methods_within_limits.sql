-- A payment keeps within the limits of its method: Cash up to 50,000; UPI, Online and Card 1 to
-- 100,000; Cheque 1,000 to 1,000,000; Bank Transfer 1 to 1,000,000.
-- do: write the method that it was paid by, or the amounts that were paid by each.
with absent as (
  select null::timestamptz as voided_at
),

limits (payment_method, least_amount, most_amount) as (
  values
  ('Cash', 0, 50000),
  ('UPI', 1, 100000),
  ('Online', 1, 100000),
  ('Card', 1, 100000),
  ('Cheque', 1000, 1000000),
  ('Bank Transfer', 1, 1000000)
)

select
  'payment' as entity,
  payment.id::text as entity_id,
  concat(payment.payment_method, ' of ', limits.least_amount, ' to ', limits.most_amount)
    as expected,
  payment.amount::text as found
from absent
cross join public.payments as payment
cross join lateral (select voided_at from (select payment.*) as whole) as voiding -- noqa: RF02,ST05
inner join limits on payment.payment_method = limits.payment_method
where
  payment.amount not between limits.least_amount and limits.most_amount
  -- the column comes with the gap that can void a payment; before it, absent's is meant
  and voiding.voided_at is null;
