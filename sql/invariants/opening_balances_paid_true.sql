-- What a customer says is paid of the opening balance is what its payments say.
-- do: restore nothing and report a defect; the database moves the figure by itself.
with opening_paid as (
  select
    customer_id,
    sum(amount) as amount
  from public.opening_balance_payments
  group by customer_id
),

truth as (
  select
    customer.id,
    coalesce(opening_paid.amount, 0) as paid,
    -- the column comes with gap 005
    (to_jsonb(customer) ->> 'opening_balance_paid')::numeric as said
  from public.customers as customer
  left join opening_paid on customer.id = opening_paid.customer_id
)

select
  'customer' as entity,
  truth.id::text as entity_id,
  truth.paid || ' paid' as expected,
  truth.said || ' paid' as found
from truth
where truth.said <> truth.paid;
