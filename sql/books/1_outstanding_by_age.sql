-- What customers owe, by how long it has been due.
-- Counted from the rows, not from the cached totals, as of the dairy's today. An invoice without a
-- due date is not due yet; an opening balance has no date and stands for itself.
-- money: outstanding
-- chart: bars of outstanding by age
with opening_paid as (
  select
    allocation.customer_id,
    sum(allocation.amount) as amount
  from public.opening_balance_payments as allocation
  group by allocation.customer_id
),

invoice_paid as (
  select
    allocation.invoice_id,
    sum(allocation.amount_allocated) as amount
  from public.invoice_payments as allocation
  group by allocation.invoice_id
),

owed as (
  select
    customer.id as customer_id,
    null::integer as days_due,
    coalesce(customer.opening_balance, 0) - coalesce(opening_paid.amount, 0) as amount
  from public.customers as customer
  left join opening_paid on customer.id = opening_paid.customer_id
  union all
  select
    invoice.customer_id,
    greatest(
      (now() at time zone 'Asia/Kolkata')::date
      - coalesce(invoice.due_date, (now() at time zone 'Asia/Kolkata')::date),
      0
    ) as days_due,
    invoice.total_amount - coalesce(invoice_paid.amount, 0) as amount
  from public.invoice_metadata as invoice
  left join invoice_paid on invoice.id = invoice_paid.invoice_id
  where coalesce(invoice.invoice_status, 'draft') not in ('draft', 'cancelled')
),

bucket (place, age, least_days, most_days) as (
  values
  (1, 'opening balance', null, null),
  (2, 'not due', 0, 0),
  (3, '1 to 30 days', 1, 30),
  (4, '31 to 60 days', 31, 60),
  (5, '61 to 90 days', 61, 90),
  (6, 'over 90 days', 91, 1000000)
)

select
  bucket.age,
  count(distinct owed.customer_id) as customers,
  coalesce(sum(owed.amount), 0) as outstanding
from bucket
left join owed
  on
    owed.amount <> 0
    and case
      when bucket.least_days is null then owed.days_due is null
      else owed.days_due between bucket.least_days and bucket.most_days
    end
group by bucket.place, bucket.age
order by bucket.place;
