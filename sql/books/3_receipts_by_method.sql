-- Money received, by month and method.
-- Of the last twelve months, by the day of the payment. Voided payments are left out.
-- money: received
-- chart: columns of received by month and method
with receipt as (
  select
    to_char(payment.payment_date, 'YYYY-MM') as month,
    coalesce(payment.payment_method, 'no method') as method,
    payment.amount
  from public.payments as payment
  -- the column comes with the gap that can void a payment; where that gap was rolled back, a voided
  -- payment is one that says that nothing is applied of it and nothing is left
  where
    to_jsonb(payment) ->> 'voided_at' is null
    and (
      payment.amount_applied is distinct from 0
      or payment.amount_unapplied is distinct from 0
      or payment.allocation_status is distinct from 'unapplied'
    )
    and payment.payment_date
    >= date_trunc('month', now() at time zone 'Asia/Kolkata')::date - interval '11 months'
)

select
  receipt.month,
  receipt.method,
  count(*) as payments,
  sum(receipt.amount) as received
from receipt
group by receipt.month, receipt.method
order by receipt.month, receipt.method;
