-- Every broken invariant of billing, one row each; a part of check_payment_invariants.
--
-- Locks: none. It reads one snapshot.

create or replace function private.check_billing()
returns table (
  invariant text,
  entity text,
  entity_id text,
  expected text,
  found text
)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- return
  return query
  with line as (
    select
      written.*,
      invoice.id is not null and invoice.invoice_status is distinct from 'cancelled' as live,
      invoice.customer_id
    from public.invoice_line_items as written
    left join public.invoice_metadata as invoice on written.invoice_id = invoice.id
  )

  select
    'billed_once', 'sale', line.sale_id::text,
    'one line of a live invoice', count(*) || ' lines of live invoices'
  from line
  where line.live and line.sale_id is not null
  group by line.sale_id
  having count(*) > 1
  union all
  select
    'billed_once', 'delivery', line.delivery_id::text,
    'one line of a live invoice', count(*) || ' lines of live invoices'
  from line
  where line.live and line.delivery_id is not null
  group by line.delivery_id
  having count(*) > 1
  union all
  select
    'billed_sales_are_the_customers', 'invoice_line', line.id::text,
    'a Credit sale of ' || line.customer_id,
    sale.sale_type || ' sale of ' || coalesce(sale.customer_id::text, 'nobody')
  from line
  inner join public.sales as sale on line.sale_id = sale.id
  where line.live
    and (sale.sale_type <> 'Credit' or sale.customer_id is distinct from line.customer_id)
  union all
  select
    'billed_deliveries_are_the_customers', 'invoice_line', line.id::text,
    'a delivery made to ' || line.customer_id,
    concat(
      coalesce(delivery.delivery_status, 'no status'), ', delivery to ', delivery.customer_id
    )
  from line
  inner join public.deliveries as delivery on line.delivery_id = delivery.id
  where line.live
    and (
      delivery.customer_id <> line.customer_id
      or delivery.delivery_status is distinct from 'delivered'
    )
  union all
  select
    'billed_amounts_are_the_lines', 'invoice_line', line.id::text,
    coalesce(delivery.total_amount, sale.total_amount)::text, line.line_total::text
  from line
  left join public.deliveries as delivery on line.delivery_id = delivery.id
  left join public.sales as sale on line.sale_id = sale.id
  where line.bills
    and line.line_total <> coalesce(delivery.total_amount, sale.total_amount)
  union all
  select
    'issued_invoices_add_up', 'invoice', invoice.id::text,
    'lines of ' || invoice.total_amount, 'lines of ' || coalesce(sum(line.line_total), 0)
  from public.invoice_metadata as invoice
  inner join line on invoice.id = line.invoice_id
  where coalesce(invoice.invoice_status, 'draft') not in ('draft', 'cancelled')
  group by invoice.id, invoice.total_amount
  having invoice.total_amount <> coalesce(sum(line.line_total), 0)
  union all
  select
    'deleted_invoices_are_cancelled', 'invoice', invoice.id::text,
    'cancelled', coalesce(invoice.invoice_status, 'null')
  from public.invoice_metadata as invoice
  where invoice.deleted_at is not null and invoice.invoice_status is distinct from 'cancelled'
  union all
  select
    'lines_bill_while_live', 'invoice_line', line.id::text,
    case when line.live then 'bills' else 'bills nothing' end,
    case when line.bills then 'bills' else 'bills nothing' end
  from line
  where line.bills <> line.live
    and not (
      line.live
      and exists (
        select
        from line as other
        where other.bills
          and (other.sale_id = line.sale_id or other.delivery_id = line.delivery_id)
      )
    )
  union all
  select
    'mapping_agrees_with_lines', 'sale', coalesce(line.sale_id, mapping.sale_id)::text,
    case
      when line.sale_id is null then 'billed by nobody'
      else 'billed by ' || line.invoice_id
    end,
    case
      when mapping.sale_id is null then 'billed by nobody'
      else 'billed by ' || mapping.invoice_id
    end
  from (
    select billing.invoice_id, billing.sale_id
    from line as billing
    where billing.bills and billing.sale_id is not null
  ) as line
  full join (
    select billing.invoice_id, billing.sale_id
    from public.invoice_sales_mapping as billing
    where billing.released_at is null
  ) as mapping on line.invoice_id = mapping.invoice_id and line.sale_id = mapping.sale_id
  where line.sale_id is null or mapping.sale_id is null;
end;
$$;

comment on function private.check_billing() is
'Every broken invariant of billing as a row; none when all is well.';

revoke all on function private.check_billing() from public, anon, authenticated, service_role;
