-- What a customer owes comes out the same in two ways: from the function that the app asks, and from
-- the rows of opening balances, invoices and their payments.
-- do: validate_outstanding names the figures that differ (from gap 008 on); before gap 001, deploy it.
with absent as (
  select null::timestamptz as deleted_at
),

issued as not materialized (
  select
    invoice.id,
    invoice.customer_id,
    invoice.total_amount
  from absent
  cross join public.invoice_metadata as invoice
  -- the column comes with gap 006; before it, absent's is meant
  cross join lateral (select deleted_at from (select invoice.*) as whole) as deletion -- noqa: RF02,ST05
  where
    coalesce(invoice.invoice_status, 'draft') not in ('draft', 'cancelled')
    and deletion.deleted_at is null
),

entry as (
  select
    customer_id,
    total_amount as owed
  from issued
  union all
  select
    issued.customer_id,
    -allocation.amount_allocated as owed
  from public.invoice_payments as allocation
  inner join issued on allocation.invoice_id = issued.id
  union all
  select
    customer_id,
    -amount as owed
  from public.opening_balance_payments
),

by_rows as (
  select
    customer_id,
    sum(owed) as owed
  from entry
  group by customer_id
),

both_ways as materialized (
  select
    customer.id,
    coalesce(customer.opening_balance, 0) + coalesce(by_rows.owed, 0) as summed,
    public.calculate_customer_outstanding(customer.id) as asked
  from public.customers as customer
  left join by_rows on customer.id = by_rows.customer_id
)

select
  'customer' as entity,
  both_ways.id::text as entity_id,
  trim_scale(both_ways.summed)::text as expected,
  coalesce(trim_scale(both_ways.asked)::text, 'null') as found
from both_ways
where both_ways.summed is distinct from both_ways.asked;
