-- unapplied_payments has one row for each payment with something left, of that amount and customer,
-- and none for any other: voided, without a customer, or of an amount that is not a sum of money.
-- do: from gap 004 on, fix_unapplied_payments_inconsistencies; before, leave it: the app writes it.
with absent as (
  select null::timestamptz as voided_at
),

applied as (
  select
    allocation.payment_id,
    sum(allocation.amount) as amount
  from (
    select
      payment_id,
      amount_allocated as amount
    from public.invoice_payments
    union all
    select
      payment_id,
      amount
    from public.opening_balance_payments
    union all
    select
      payment_id,
      amount_allocated as amount
    from public.sales_payments
  ) as allocation
  group by allocation.payment_id
),

mirrored as (
  select
    payment_id,
    count(*) as many,
    sum(amount_unapplied) as amount,
    array_agg(customer_id) as customers
  from public.unapplied_payments
  group by payment_id
),

truth as (
  select
    payment.id,
    payment.customer_id,
    case
      when
        payment.customer_id is not null
        and payment.amount < 'Infinity'
        -- the column comes with the gap that can void a payment; before it, absent's is meant
        and voiding.voided_at is null
        then greatest(payment.amount - coalesce(applied.amount, 0), 0)
      else 0
    end as rest
  from absent -- noqa: ST11
  cross join public.payments as payment
  cross join lateral (select voided_at from (select payment.*) as whole) as voiding -- noqa: RF02,ST05
  left join applied on payment.id = applied.payment_id
)

select
  'payment' as entity,
  truth.id::text as entity_id,
  case
    when truth.rest = 0 then 'no row'
    else '1 row of ' || truth.rest || ' of customer ' || truth.customer_id
  end as expected,
  coalesce(mirrored.many, 0) || ' rows, ' || coalesce(mirrored.amount, 0) || ' together' as found
from truth
left join mirrored on truth.id = mirrored.payment_id
where not case
  when truth.rest = 0 then mirrored.many is null
  else
    coalesce(mirrored.many, 0) = 1
    and mirrored.amount = truth.rest
    and mirrored.customers = array[truth.customer_id]
end;
