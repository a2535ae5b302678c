-- A payment is above 0, below 10,000,000,000 and has at most two decimals.
-- do: look the receipt up and correct the amount of the payment.
select
  'payment' as entity,
  payment.id::text as entity_id,
  'above 0, below 10^10, at most two decimals' as expected,
  payment.amount::text as found
from public.payments as payment
where
  not (
    payment.amount > 0
    and payment.amount < 10000000000
    and payment.amount = round(payment.amount, 2)
  );
