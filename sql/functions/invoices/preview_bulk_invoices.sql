-- What generate_bulk_invoices_atomic would do, without doing it: a row for each customer, in the order
-- of their names. It asks the same function (billing_lines), so it can't say anything else.
--
-- outcome: invoiced means would be. Amounts are rupees; they are null where there would be no
-- invoice, and the reason says why.
--
-- Refusals:
--   PT400 period_required, period_invalid, customers_empty, customer_required
--   PT404 customer_not_found
--
-- Locks: none. It reads one snapshot.

create or replace function public.preview_bulk_invoices(
  p_period_start date,
  p_period_end date,
  p_customer_ids uuid[]
)
returns table (
  customer_id uuid,
  billing_name text,
  outcome text,
  lines integer,
  subscription_amount numeric,
  manual_sales_amount numeric,
  gst_amount numeric,
  total_amount numeric,
  due_date date,
  reason text
)
language plpgsql
stable
security definer -- to whom row security hides rows, there would be nothing to bill
set search_path = pg_catalog, pg_temp
as $$
declare
  v_customer_ids uuid[] := private.parse_customer_ids(p_customer_ids);
  v_unknown uuid[];
begin
  -- check
  perform private.check_period(p_period_start, p_period_end);

  select array_agg(named.id) into v_unknown
  from unnest(v_customer_ids) as named (id)
  where not exists (select from public.customers as customer where customer.id = named.id);

  if v_unknown is not null then
    raise exception using
      errcode = 'PT404',
      message = 'customer_not_found',
      detail = jsonb_build_object('customer_ids', v_unknown[1:100])::text,
      hint = 'The customer does not exist or was deleted; reload the list of customers.';
  end if;

  -- return
  return query
  with planned as (
    select
      line.customer_id,
      line.outcome,
      line.facts,
      count(line.line_item_type)::integer as lines,
      sum(line.line_total) filter (where line.sale_id is null) as deliveries,
      sum(line.line_total) filter (where line.sale_id is not null) as sales,
      sum(line.gst_amount) as gst,
      sum(line.line_total) as total
    from private.billing_lines(
      coalesce(v_customer_ids, array(select customer.id from public.customers as customer)),
      p_period_start,
      p_period_end
    ) as line
    where v_customer_ids is not null or line.unbilled > 0
    group by line.customer_id, line.outcome, line.facts
  )

  select
    planned.customer_id,
    customer.billing_name,
    planned.outcome,
    planned.lines,
    case when planned.outcome = 'invoiced' then coalesce(planned.deliveries, 0) end,
    case when planned.outcome = 'invoiced' then coalesce(planned.sales, 0) end,
    case when planned.outcome = 'invoiced' then planned.gst end,
    planned.total,
    case
      when planned.outcome = 'invoiced'
        then private.due_date(p_period_end, customer.billing_cycle_day)
    end,
    private.billing_reason(planned.outcome, planned.facts)
  from planned
  inner join public.customers as customer on planned.customer_id = customer.id
  order by customer.billing_name, customer.id;
end;
$$;

comment on function public.preview_bulk_invoices(date, date, uuid[]) is
'What generate_bulk_invoices_atomic would do, a row for each customer; writes nothing.

p_customer_ids uuid[] | null: null is everyone with something to bill
outcome: invoiced means would be
reason: why there would be no invoice
never null: customer_id, billing_name, outcome, lines';

revoke all on function public.preview_bulk_invoices(date, date, uuid[])
from public, anon, authenticated, service_role;
grant execute on function public.preview_bulk_invoices(date, date, uuid[])
to authenticated, service_role;
