-- After an invoice became paid: the Credit sales that it bills are Completed. After it stopped
-- being paid: they are Billed again.
--
-- The app's update_invoice_status_with_sales_completion did this on the change that it made itself;
-- now the status changes with the allocation, in its transaction, and the sales with it.
--
-- It also lets lines bill what they should after an invoice was cancelled or came back inside of a
-- trigger of somebody's; else bill_with_invoice does, for all invoices of the statement.
--
-- Locks: the invoice is held by the update itself; then its sales by id, `for no key update`.

create or replace function private.settle_sales()
returns trigger
language plpgsql
security definer -- an invoker's update that row security filters would change nothing, silently
set search_path = pg_catalog, pg_temp
as $$
declare
  v_sale_ids uuid[];
begin
  if
    (new.invoice_status = 'cancelled') is distinct from (old.invoice_status = 'cancelled')
    and pg_trigger_depth() > 1
  then
    if new.invoice_status = 'cancelled' then
      perform private.bill_invoices(array[new.id], null);
    else
      perform private.bill_invoices(null, array[new.id]);
    end if;
  end if;

  if (new.invoice_status = 'paid') is not distinct from (old.invoice_status = 'paid') then
    return null;
  end if;

  perform
  from public.invoice_line_items as line
  where line.invoice_id = new.id and line.sale_id is not null;

  if not found then
    return null;
  end if;

  -- lock
  select array_agg(locked.id) into v_sale_ids
  from (
    select sale.id
    from public.sales as sale
    where sale.id in (
      select line.sale_id
      from public.invoice_line_items as line
      where line.invoice_id = new.id
    )
    order by sale.id
    for no key update
  ) as locked;

  -- write
  if v_sale_ids is not null then
    perform private.derive_sales(v_sale_ids);
  end if;

  return null;
end;
$$;

comment on function private.settle_sales() is
'Trigger: completes the Credit sales of an invoice that became paid, and bills them again after.';

revoke all on function private.settle_sales() from public, anon, authenticated, service_role;
