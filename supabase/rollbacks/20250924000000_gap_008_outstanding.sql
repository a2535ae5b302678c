-- Undoes gap 008, exactly: the baseline's function comes back under the privileges that it had.
-- It reads no column that a gap has added, and holds no data of its own: nothing is archived.
--
-- Locks: `drop index` takes access exclusive on opening_balance_payments, to the commit.

-- functions, as they were before ----------------------------------------------------------------

-- >>> sql/functions/outstanding/calculate_customer_outstanding.sql as of 20250901000000_baseline sha256:b038b19d58d54d423fbb584b72cffacb4ae13dd049a4905207a9b9460d90e36d
-- An unknown customer owes nothing, it seems: what is missing reads as zero.
create or replace function public.calculate_customer_outstanding(customer_uuid uuid)
returns numeric
language plpgsql
as $$
declare
  opening numeric;
  opening_paid numeric;
  invoices numeric;
begin
  select coalesce(opening_balance, 0) into opening
  from public.customers where id = customer_uuid;

  select coalesce(sum(amount), 0) into opening_paid
  from public.opening_balance_payments where customer_id = customer_uuid;

  select coalesce(sum(amount_outstanding), 0) into invoices
  from public.invoice_metadata
  where customer_id = customer_uuid
    and invoice_status in ('sent', 'partially_paid', 'overdue');

  return coalesce(opening, 0) - opening_paid + invoices;
end;
$$;
-- <<<

-- >>> sql/functions/outstanding/outstanding_breakdown.sql was not there
drop function public.outstanding_breakdown(uuid, date);
-- <<<

-- >>> sql/functions/outstanding/validate_outstanding.sql was not there
drop function public.validate_outstanding(uuid);
-- <<<

comment on function public.calculate_customer_outstanding(uuid) is null;

select private.restore_privileges('20250924000000_gap_008_outstanding');

-- what the gap added -----------------------------------------------------------------------------

drop index public.idx_opening_balance_payments_customer;
