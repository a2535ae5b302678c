-- Lines of invoices that were cancelled bill nothing; those of invoices that came back bill again, and a
-- unique index refuses (23505) what somebody else bills by now.
--
-- It can be asked twice: lines that say already what they should are left alone.
--
-- Locks: the caller holds the invoices; deliveries and sales by id, `for no key update`.

create or replace function private.bill_invoices(p_cancelled uuid[], p_reinstated uuid[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew takes longer than its work
as $$
declare
  v_direct constant boolean := coalesce(current_setting('pymilk.call_id', true), '') = '';
  v_invoice_ids uuid[];
  v_sale_ids uuid[];
  v_delivering_by uuid[];
  v_delivery_ids uuid[];
  v_line_ids uuid[];
begin
  -- write
  if p_cancelled is not null then
    with freed as (
      update public.invoice_line_items as line
      set bills = false
      where line.invoice_id = any(p_cancelled) and line.bills
      returning line.invoice_id, line.sale_id, line.delivery_id
    )

    select array_agg(freed.invoice_id), array_agg(freed.sale_id), array_agg(freed.delivery_id)
    into v_invoice_ids, v_sale_ids, v_delivery_ids
    from freed
    where freed.sale_id is not null or freed.delivery_id is not null;

    if v_invoice_ids is not null then
      perform private.free_billed(v_invoice_ids, v_sale_ids, v_delivery_ids);
    end if;
  end if;

  if p_reinstated is not null then
    with billed as (
      update public.invoice_line_items as line
      set bills = true
      where line.invoice_id = any(p_reinstated) and not line.bills
      returning line.invoice_id, line.sale_id, line.delivery_id
    )

    select
      array_agg(billed.invoice_id) filter (where billed.sale_id is not null),
      array_agg(billed.sale_id) filter (where billed.sale_id is not null),
      array_agg(billed.invoice_id) filter (where billed.delivery_id is not null),
      array_agg(billed.delivery_id) filter (where billed.delivery_id is not null)
    into v_invoice_ids, v_sale_ids, v_delivering_by, v_delivery_ids
    from billed;

    -- recover_invoice has looked at them, and holds the customer
    if v_delivery_ids is not null and v_direct then
      perform private.take_deliveries(v_delivering_by, v_delivery_ids);
    end if;

    if v_sale_ids is not null then
      perform private.keep_settled_sales(v_sale_ids);
      perform private.take_sales(v_invoice_ids, v_sale_ids);
    end if;

    if v_direct then
      select array_agg(line.id) into v_line_ids
      from public.invoice_line_items as line
      where line.invoice_id = any(p_reinstated);

      perform private.keep_line_totals(v_line_ids);
    end if;
  end if;
end;
$$;

comment on function private.bill_invoices(uuid[], uuid[]) is
'Sets free what cancelled invoices billed, and bills what invoices that came back bill.';

revoke all on function private.bill_invoices(uuid[], uuid[])
from public, anon, authenticated, service_role;
