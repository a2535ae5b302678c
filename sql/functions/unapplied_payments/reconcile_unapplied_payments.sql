-- Where unapplied_payments differs from the payments that it mirrors: one row for each payment, none
-- when all is well. Reads only; fix_unapplied_payments_inconsistencies repairs.
--
-- expected: what is left of the payment, in rupees; 0 when there should be no row.
-- found: what its rows say together, and how many there are (mirror_rows).
-- fault: missing, superfluous, duplicate, wrong_amount, wrong_customer.
--
-- Locks: none. It reads one snapshot.

create or replace function public.reconcile_unapplied_payments()
returns table (
  payment_id uuid,
  customer_id uuid,
  expected numeric,
  found numeric,
  mirror_rows bigint,
  fault text
)
language plpgsql
stable
security definer -- to whom row security hides rows, all would seem well
set search_path = pg_catalog, pg_temp
as $$
begin
  -- return
  return query
  select faulty.*
  from private.unapplied_faults() as faulty
  order by faulty.customer_id, faulty.payment_id;
end;
$$;

comment on function public.reconcile_unapplied_payments() is
'Where unapplied_payments differs from the payments that it mirrors; no row when all is well.

expected: what is left of the payment
found: what the mirror says
fault "superfluous" | "missing" | "duplicate" | "wrong_amount" | "wrong_customer"
never null: all but customer_id';

revoke all on function public.reconcile_unapplied_payments()
from public, anon, authenticated, service_role;
grant execute on function public.reconcile_unapplied_payments() to authenticated, service_role;
