-- The dairy's money in a few figures, in rupees, from the rows and not from the cached totals.
-- money: value
with absent as (
  select null::timestamptz as voided_at
),

figure as (
  select
    (
      -- the column comes with the gap that can void a payment; where that gap was rolled back, a
      -- voided payment is one that says that nothing is applied of it and nothing is left
      select coalesce(sum(payment.amount), 0)
      from absent
      cross join public.payments as payment
      cross join lateral (select voided_at from (select payment.*) as whole) as voiding -- noqa: RF02,ST05
      where
        voiding.voided_at is null
        and (
          payment.amount_applied is distinct from 0
          or payment.amount_unapplied is distinct from 0
          or payment.allocation_status is distinct from 'unapplied'
        )
    ) as received,
    (
      select coalesce(sum(invoice_payment.amount_allocated), 0)
      from public.invoice_payments as invoice_payment
    ) as to_invoices,
    (
      select coalesce(sum(opening_balance_payment.amount), 0)
      from public.opening_balance_payments as opening_balance_payment
    ) as to_opening_balances,
    (
      select coalesce(sum(sales_payment.amount_allocated), 0)
      from public.sales_payments as sales_payment
    ) as to_sales,
    (
      select coalesce(sum(customer.opening_balance), 0)
      from public.customers as customer
    ) as opening_balances,
    (
      select coalesce(sum(invoice.total_amount), 0)
      from public.invoice_metadata as invoice
      where coalesce(invoice.invoice_status, 'draft') not in ('draft', 'cancelled')
    ) as issued,
    (
      select coalesce(sum(invoice_payment.amount_allocated), 0)
      from public.invoice_payments as invoice_payment
      inner join public.invoice_metadata as invoice on invoice_payment.invoice_id = invoice.id
      where coalesce(invoice.invoice_status, 'draft') not in ('draft', 'cancelled')
    ) as issued_paid
)

select
  'received' as key,
  trim_scale(received) as value
from figure
union all
select
  'allocated to invoices' as key,
  trim_scale(to_invoices) as value
from figure
union all
select
  'allocated to opening balances' as key,
  trim_scale(to_opening_balances) as value
from figure
union all
select
  'allocated to sales' as key,
  trim_scale(to_sales) as value
from figure
union all
select
  'unapplied' as key,
  trim_scale(received - to_invoices - to_opening_balances - to_sales) as value
from figure
union all
select
  'issued in invoices' as key,
  trim_scale(issued) as value
from figure
union all
select
  'outstanding' as key,
  trim_scale(opening_balances - to_opening_balances + issued - issued_paid) as value
from figure
order by key;
