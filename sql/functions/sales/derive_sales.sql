-- Puts the true payment_status of Credit sales that were just billed, freed or settled: Completed
-- when they or their invoice are paid, Billed on a live invoice, Pending when they were set free.
--
-- Not for any other sale: of those, what the app says holds.
--
-- Locks: none; the caller holds the sales.

create or replace function private.derive_sales(p_sale_ids uuid[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew took half of a call's time
as $$
begin
  -- write
  update public.sales as sale
  set
    payment_status = truth.payment_status,
    -- the app's own statements set it themselves; a restore keeps what was
    updated_at = case
      when current_setting('pymilk.call_id', true) <> '' then now()
      else sale.updated_at
    end
  from (
    select
      derived.id,
      case
        when bill.paid or (derived.amount_paid > 0 and derived.amount_paid >= derived.total_amount)
          then 'Completed'
        when bill.sale_id is not null then 'Billed'
        else 'Pending'
      end as payment_status
    from public.sales as derived
    left join private.bills_of_sales(p_sale_ids) as bill on derived.id = bill.sale_id
    where derived.id = any(p_sale_ids) and derived.sale_type = 'Credit'
  ) as truth
  where sale.id = truth.id and sale.payment_status <> truth.payment_status;
end;
$$;

comment on function private.derive_sales(uuid[]) is
'Puts the true payment_status of Credit sales that were just billed, freed or settled.';

revoke all on function private.derive_sales(uuid[])
from public, anon, authenticated, service_role;
