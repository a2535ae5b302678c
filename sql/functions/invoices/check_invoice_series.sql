-- Every broken invariant of invoice series, one row each; a part of check_payment_invariants.
--
-- Locks: none. It reads one snapshot.

create or replace function private.check_invoice_series()
returns table (
  invariant text,
  entity text,
  entity_id text,
  expected text,
  found text
)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- return
  return query
  select
    'live_invoices_apart',
    'invoice',
    later.id::text,
    'days that no other live invoice of the customer covers',
    format('overlaps %s, %s to %s', earlier.id, earlier.period_start, earlier.period_end)
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
  where later.covered_to >= later.period_start
    and (later.period_start, later.created_at, later.id)
    > (earlier.period_start, earlier.created_at, earlier.id)
    and later.period_start <= earlier.period_end
    and later.period_end >= earlier.period_start
    and earlier.invoice_status is distinct from 'cancelled'
  union all
  select
    'invoice_numbers_unique',
    'invoice',
    min(invoice.id::text),
    'a number of its own',
    format('%s invoices numbered %s', count(*), invoice.invoice_number)
  from public.invoice_metadata as invoice
  where invoice.invoice_number is not null
  group by invoice.invoice_number
  having count(*) > 1
  union all
  select
    'invoice_numbers_counted',
    'invoice',
    invoice.id::text,
    format('a number up to %s', counter.last_number),
    invoice.invoice_number
  from public.invoice_counters as counter
  inner join public.invoice_metadata as invoice
    on counter.financial_year = left(invoice.invoice_number, 6)
  where invoice.invoice_number ~ '^[0-9]{11}$'
    and right(invoice.invoice_number, 5)::integer > counter.last_number;
end;
$$;

comment on function private.check_invoice_series() is
'Every broken invariant of invoice series as a row; none when all is well.';

revoke all on function private.check_invoice_series()
from public, anon, authenticated, service_role;
