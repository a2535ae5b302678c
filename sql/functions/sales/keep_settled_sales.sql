-- Sales that lines of live invoices just took, directly or because their invoice came back: none may
-- have been settled at the counter (23514 otherwise), or it would be owed once more. A sale that an
-- allocation paid is take_sales's; the calls that bill read Pending ones alone.
--
-- Settled is a Credit sale that somebody said is Completed. One that is Completed because a live
-- invoice of it is paid stays with that.
--
-- Locks: the sales by id, `for no key update`; the caller holds the invoices.

create or replace function private.keep_settled_sales(p_sale_ids uuid[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew takes longer than its work
as $$
declare
  v_sale_id uuid;
begin
  -- lock
  perform
  from public.sales as sale
  where sale.id = any(p_sale_ids)
  order by sale.id
  for no key update;

  -- check
  select sale.id into v_sale_id
  from public.sales as sale
  left join private.bills_of_sales(p_sale_ids) as bill on sale.id = bill.sale_id
  where sale.id = any(p_sale_ids)
    and sale.sale_type = 'Credit'
    and sale.payment_status = 'Completed'
    and sale.amount_paid = 0
    and bill.paid is not true
  order by sale.id
  limit 1;

  if found then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'invoice_line_items',
      constraint = 'invoice_line_items_sale_unpaid',
      column = 'sale_id',
      message = 'a sale that was paid by itself cannot be billed',
      detail = jsonb_build_object('sale_id', v_sale_id, 'payment_status', 'Completed')::text,
      hint = 'Leave the sale off the invoice, or say that it is Pending when nobody paid it.';
  end if;
end;
$$;

comment on function private.keep_settled_sales(uuid[]) is
'Refuses to bill sales that were settled at the counter.';

revoke all on function private.keep_settled_sales(uuid[])
from public, anon, authenticated, service_role;
