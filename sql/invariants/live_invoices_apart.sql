-- Live invoices of one customer do not overlap.
-- do: decide which of the two is right; cancel the other, or give it the days that it bills.
select
  'invoice' as entity,
  later.id::text as entity_id,
  'days that no other live invoice of the customer covers' as expected,
  format('overlaps %s, %s to %s', earlier.id, earlier.period_start, earlier.period_end) as found
from (
  -- In order, so that only what begins before another one's end is laid beside all of a customer's.
  select
    invoice.*,
    max(invoice.period_end) over (
      partition by invoice.customer_id
      order by invoice.period_start, invoice.created_at, invoice.id
      rows between unbounded preceding and 1 preceding
    ) as covered_to
  from public.invoice_metadata as invoice
  where invoice.invoice_status is distinct from 'cancelled'
) as later
inner join public.invoice_metadata as earlier on later.customer_id = earlier.customer_id
where
  later.covered_to >= later.period_start
  and (later.period_start, later.created_at, later.id)
  > (earlier.period_start, earlier.created_at, earlier.id)
  and later.period_start <= earlier.period_end
  and later.period_end >= earlier.period_start
  and earlier.invoice_status is distinct from 'cancelled';
