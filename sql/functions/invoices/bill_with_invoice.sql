-- After invoices were cancelled: their lines bill nothing. After they came back: their lines bill
-- again (bill_invoices). All those of a statement at once; where the owner writes inside of a trigger,
-- and could be the counters, this is not called, and settle_sales sees to each.
--
-- Locks: the invoices are held by the update itself; then deliveries and sales by id, `for no key
-- update`.

create or replace function private.bill_with_invoice()
returns trigger
language plpgsql
security definer -- an invoker's update that row security filters would change nothing, silently
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew takes longer than its work
as $$
declare
  v_cancelled uuid[];
  v_reinstated uuid[];
begin
  select
    array_agg(became.id) filter (where became.invoice_status = 'cancelled'),
    array_agg(became.id) filter (where became.invoice_status is distinct from 'cancelled')
  into v_cancelled, v_reinstated
  from new_rows as became
  inner join old_rows as was on became.id = was.id
  where (became.invoice_status = 'cancelled') is distinct from (was.invoice_status = 'cancelled');

  -- write
  if v_cancelled is not null or v_reinstated is not null then
    perform private.bill_invoices(v_cancelled, v_reinstated);
  end if;

  return null;
end;
$$;

comment on function private.bill_with_invoice() is
'Trigger: lines of an invoice that is cancelled bill nothing, and bill again when it comes back.';

revoke all on function private.bill_with_invoice() from public, anon, authenticated, service_role;
