-- Undoes gap 006, exactly.

-- functions, as they were before ----------------------------------------------------------------

-- >>> sql/functions/invoices/check_billing.sql was not there
drop function private.check_billing();
-- <<<

-- >>> sql/functions/payments/check_payment_invariants.sql as of 20250921000000_gap_005_allocate_opening_balance_atomic sha256:9a780cbdd18f81abb74f319b8cf01de296d65778ceb8494ce03c6a77025964a2
-- Every broken invariant of the books, one row each; none when all is well. The same questions as
-- sql/invariants asks from outside, by the same names; each part stands in a function of its own.
--
-- Locks: none. It reads one snapshot.

create or replace function public.check_payment_invariants()
returns table (
  invariant text,
  entity text,
  entity_id text,
  expected text,
  found text
)
language plpgsql
stable
security definer -- to whom row security hides rows, all would seem well
set search_path = pg_catalog, pg_temp
as $$
begin
  -- return
  return query
  select * from private.check_payments()
  union all
  select * from private.check_unapplied_payments()
  union all
  select * from private.check_settlements();
end;
$$;

comment on function public.check_payment_invariants() is
'Every broken invariant of the books as a row; none when all is well.';

revoke all on function public.check_payment_invariants()
from public, anon, authenticated, service_role;
grant execute on function public.check_payment_invariants() to authenticated, service_role;
-- <<<

-- what the gap added -----------------------------------------------------------------------------

drop table public.audit_trail;
drop table public.invoice_sales_mapping;
alter table public.invoice_line_items drop column bills;
alter table public.invoice_metadata
drop column status_before_deletion,
drop column deleted_by,
drop column deleted_at;
