-- Lines that were just written, or that bill again, cost what they bill costs (23514 otherwise): a
-- sale of 40 on a line of 1 would be paid with 1, and a stale price with the old one.
--
-- A line that bills both, a delivery and a sale, costs both. One that names no amount says nothing else.
--
-- Locks: none; the caller holds the deliveries and sales.

create or replace function private.keep_line_totals(p_line_ids uuid[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_offence record;
begin
  -- check
  select
    line.id,
    line.invoice_id,
    line.line_total,
    coalesce(
      delivery.total_amount + sale.total_amount, delivery.total_amount, sale.total_amount
    ) as billed
  into v_offence
  from public.invoice_line_items as line
  left join public.deliveries as delivery on line.delivery_id = delivery.id
  left join public.sales as sale on line.sale_id = sale.id
  where line.id = any(p_line_ids)
    and line.bills
    and line.line_total <> coalesce(
      delivery.total_amount + sale.total_amount, delivery.total_amount, sale.total_amount
    )
  order by line.id
  limit 1;

  if found then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'invoice_line_items',
      constraint = 'invoice_line_items_total_as_billed',
      column = 'line_total',
      message = 'a line costs what the delivery or sale that it bills costs',
      detail = jsonb_build_object(
        'id', v_offence.id,
        'invoice_id', v_offence.invoice_id,
        'line_total', v_offence.line_total,
        'total_amount', v_offence.billed
      )::text,
      hint = 'Reload the delivery or sale and bill its total; what differs goes on a line of its own.';
  end if;
end;
$$;

comment on function private.keep_line_totals(uuid[]) is
'Refuses lines that cost anything else than the delivery or sale that they bill.';

revoke all on function private.keep_line_totals(uuid[])
from public, anon, authenticated, service_role;
