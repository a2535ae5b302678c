-- Live invoices of one customer do not overlap.
-- do: decide which of the two is right; cancel the other, or give it the days that it bills.
select
  'invoice' as entity,
  later.id::text as entity_id,
  'days that no other live invoice of the customer covers' as expected,
  format('overlaps %s, %s to %s', earlier.id, earlier.period_start, earlier.period_end) as found
from public.invoice_metadata as later
inner join public.invoice_metadata as earlier on later.customer_id = earlier.customer_id
where
  (later.period_start, later.created_at, later.id)
  > (earlier.period_start, earlier.created_at, earlier.id)
  and later.period_start <= earlier.period_end
  and later.period_end >= earlier.period_start
  and later.invoice_status is distinct from 'cancelled'
  and earlier.invoice_status is distinct from 'cancelled';
