-- Before somebody writes an invoice with a number of his own: moves the year's counter up to it, so
-- that the database never gives the same number. The numbers that the database gave are counted.
--
-- It runs before the row exists: a writer who held the number's unique key and then waited for the
-- counter would deadlock with a call that holds the counter and waits for the key. For the same
-- reason the customer is locked first. Several numbers above the counter in one statement lock their
-- customers in the order of the rows; crossing a bulk run that may end in a deadlock report.
--
-- Locks: the customer, `for no key update`, then the year's counter, where the number is above it.

create or replace function private.count_invoice_number()
returns trigger
language plpgsql
security definer -- the counters are written by the database alone
set search_path = pg_catalog, pg_temp
as $$
declare
  v_year text := left(new.invoice_number, 6);
  v_number integer := right(new.invoice_number, 5)::integer;
begin
  if (left(v_year, 4)::integer + 1) % 100 <> right(v_year, 2)::integer
    or exists (
      select
      from public.invoice_counters as counter
      where counter.financial_year = v_year and counter.last_number >= v_number
    ) then
    return new;
  end if;

  -- lock
  perform
  from public.customers as customer
  where customer.id = new.customer_id
  for no key update;

  -- write
  if private.lock_invoice_counter(v_year) < v_number then
    update public.invoice_counters as counter
    set last_number = v_number, updated_at = now()
    where counter.financial_year = v_year;
  end if;

  return new;
end;
$$;

comment on function private.count_invoice_number() is
'Trigger: moves the counter of a financial year up to a number that somebody writes himself.';

revoke all on function private.count_invoice_number()
from public, anon, authenticated, service_role;
