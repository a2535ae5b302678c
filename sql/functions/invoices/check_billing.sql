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
    -- each line once, with what it bills, and all that is asked of it
    select
      item.id,
      item.sale_id,
      item.delivery_id,
      item.bills,
      item.line_total,
      invoice.customer_id,
      invoice.id is not null and invoice.invoice_status is distinct from 'cancelled' as live,
      sale.id is not null
      and (sale.sale_type <> 'Credit' or sale.customer_id is distinct from invoice.customer_id)
        as of_a_sale_of_others,
      sale.sale_type,
      sale.customer_id as sold_to,
      delivery.id is not null
      and (
        delivery.customer_id <> invoice.customer_id
        or delivery.delivery_status is distinct from 'delivered'
      ) as of_a_delivery_of_others,
      delivery.delivery_status,
      delivery.customer_id as delivered_to,
      coalesce(
        delivery.total_amount + sale.total_amount, delivery.total_amount, sale.total_amount
      ) as billed
    from public.invoice_line_items as item
    left join public.invoice_metadata as invoice on item.invoice_id = invoice.id
    left join public.deliveries as delivery on item.delivery_id = delivery.id
    left join public.sales as sale on item.sale_id = sale.id
  ),

  strange as materialized (
    select *
    from line
    where (line.live and (line.of_a_sale_of_others or line.of_a_delivery_of_others))
      or (line.bills and line.line_total <> line.billed)
      or line.bills <> line.live
  ),

  -- what may stand on several lines: of lines that bill, in the order of an index
  repeated_sale as materialized (
    select item.sale_id
    from public.invoice_line_items as item
    where item.bills and item.sale_id is not null
    group by item.sale_id
    having count(*) > 1
    union
    select item.sale_id
    from public.invoice_line_items as item
    where not item.bills and item.sale_id is not null
  ),

  repeated_delivery as materialized (
    select item.delivery_id
    from public.invoice_line_items as item
    where item.bills and item.delivery_id is not null
    group by item.delivery_id
    having count(*) > 1
    union
    select item.delivery_id
    from public.invoice_line_items as item
    where not item.bills and item.delivery_id is not null
  ),

  lines as (
    select item.invoice_id, coalesce(sum(item.line_total), 0) as amount
    from public.invoice_line_items as item
    group by item.invoice_id
  )

  select
    'billed_once', 'sale', item.sale_id::text,
    'one line of a live invoice', count(*) || ' lines of live invoices'
  from repeated_sale
  inner join public.invoice_line_items as item on repeated_sale.sale_id = item.sale_id
  inner join public.invoice_metadata as invoice on item.invoice_id = invoice.id
  where invoice.invoice_status is distinct from 'cancelled'
  group by item.sale_id
  having count(*) > 1
  union all
  select
    'billed_once', 'delivery', item.delivery_id::text,
    'one line of a live invoice', count(*) || ' lines of live invoices'
  from repeated_delivery
  inner join public.invoice_line_items as item on repeated_delivery.delivery_id = item.delivery_id
  inner join public.invoice_metadata as invoice on item.invoice_id = invoice.id
  where invoice.invoice_status is distinct from 'cancelled'
  group by item.delivery_id
  having count(*) > 1
  union all
  select
    'billed_sales_are_the_customers', 'invoice_line', line.id::text,
    'a Credit sale of ' || line.customer_id,
    line.sale_type || ' sale of ' || coalesce(line.sold_to::text, 'nobody')
  from strange as line
  where line.live and line.of_a_sale_of_others
  union all
  select
    'billed_deliveries_are_the_customers', 'invoice_line', line.id::text,
    'a delivery made to ' || line.customer_id,
    concat(coalesce(line.delivery_status, 'no status'), ', delivery to ', line.delivered_to)
  from strange as line
  where line.live and line.of_a_delivery_of_others
  union all
  select
    'billed_amounts_are_the_lines', 'invoice_line', line.id::text,
    line.billed::text, line.line_total::text
  from strange as line
  where line.bills and line.line_total <> line.billed
  union all
  select
    'issued_invoices_add_up', 'invoice', invoice.id::text,
    'lines of ' || invoice.total_amount, 'lines of ' || lines.amount
  from public.invoice_metadata as invoice
  inner join lines on invoice.id = lines.invoice_id
  where coalesce(invoice.invoice_status, 'draft') not in ('draft', 'cancelled')
    and invoice.total_amount <> lines.amount
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
  from strange as line
  where line.bills <> line.live
    and not (
      line.live
      and exists (
        select
        from public.invoice_line_items as other
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
    from public.invoice_line_items as billing
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
