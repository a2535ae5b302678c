-- Invoices customers for a period, all in one go: the core under the RPCs, without keys.
--
-- What is billed, and what one invoice's fault does to it, is decided by billing_lines; its lines are
-- read once and carried, so that an invoice's total is the sum of its lines whatever happens to a
-- delivery meanwhile. Totals are sums of lines and never rounded.
--
-- An invoice is dated today, by the dairy's clock, numbered in the financial year of that day, in the
-- order of the customers' names, issued as sent, and due on the customer's first billing day after
-- the period. Its lines make their sales Billed (bill_listed_sales).
--
-- p_customer_ids: distinct; null for everyone who has something to bill.
-- p_refuse_invoiced: whether one customer with an overlapping invoice refuses the whole run.
-- Returns a row for each customer, in the order of their names: outcome and facts as billing_lines
-- has them, and the invoice where one was made.
-- Refusals:
--   PT400 period_required, period_invalid
--   PT404 customer_not_found
--   PT409 already_invoiced, invoice_numbers_exhausted
-- Locks: customers by id, then their unbilled sales by id (nobody who holds the number counter waits
-- for a sale of a customer whom he doesn't hold), then the number counter, then the new invoices.

create or replace function private.generate_invoices(
  p_customer_ids uuid[],
  p_period_start date,
  p_period_end date,
  p_refuse_invoiced boolean
)
returns table (
  customer_id uuid,
  outcome text,
  facts jsonb,
  invoice_id uuid,
  invoice_number text,
  total_amount numeric
)
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_today date := public.business_today();
  v_year text := private.financial_year(v_today);
  v_customer_ids uuid[];
  v_unknown uuid[];
  v_first_number integer;
  v_line record; -- of arrays, an element for each line
  v_invoice record; -- of arrays, an element for each invoice
begin
  perform private.check_period(p_period_start, p_period_end);

  -- lock
  select array_agg(locked.id) into v_customer_ids
  from (
    select customer.id
    from public.customers as customer
    where customer.id = any(p_customer_ids)
      or (
        p_customer_ids is null
        and (
          exists (
            select
            from public.deliveries as delivery
            where delivery.customer_id = customer.id
              and delivery.order_date <= p_period_end
              and delivery.delivery_status = 'delivered'
          )
          or exists (
            select
            from public.sales as sale
            where sale.customer_id = customer.id
              and sale.sale_date <= p_period_end
              and sale.payment_status = 'Pending'
          )
        )
      )
    order by customer.id
    for no key update
  ) as locked;

  perform
  from public.sales as sale
  where sale.customer_id = any(v_customer_ids)
    and sale.payment_status = 'Pending'
    and sale.sale_date <= p_period_end
  order by sale.id
  for no key update;

  -- check
  select array_agg(named.id) into v_unknown
  from unnest(p_customer_ids) as named (id)
  where not exists (select from public.customers as customer where customer.id = named.id);

  if v_unknown is not null then
    raise exception using
      errcode = 'PT404',
      message = 'customer_not_found',
      detail = jsonb_build_object('customer_ids', v_unknown[1:100])::text,
      hint = 'The customer does not exist or was deleted; reload the list of customers.';
  end if;

  select
    array_agg(line.customer_id) as customer_ids,
    array_agg(line.outcome) as outcomes,
    array_agg(line.facts) as facts,
    array_agg(line.invoice_id) as invoice_ids,
    array_agg(line.line_item_type) as types,
    array_agg(line.delivery_id) as delivery_ids,
    array_agg(line.sale_id) as sale_ids,
    array_agg(line.order_id) as order_ids,
    array_agg(line.product_id) as product_ids,
    array_agg(line.product_name) as product_names,
    array_agg(line.quantity) as quantities,
    array_agg(line.unit_price) as unit_prices,
    array_agg(line.line_total) as totals,
    array_agg(line.gst_rate) as gst_rates,
    array_agg(line.gst_amount) as gst_amounts,
    array_agg(distinct line.customer_id) filter (
      where line.outcome = 'already_invoiced'
    ) as already_invoiced,
    count(distinct line.invoice_id) as invoices
  into v_line
  from private.billing_lines(v_customer_ids, p_period_start, p_period_end) as line
  where p_customer_ids is not null or line.unbilled > 0;

  if p_refuse_invoiced and v_line.already_invoiced is not null then
    raise exception using
      errcode = 'PT409',
      message = 'already_invoiced',
      detail = jsonb_build_object(
        'period_start', p_period_start,
        'period_end', p_period_end,
        'customers', cardinality(v_line.already_invoiced),
        'customer_ids', v_line.already_invoiced[1:100]
      )::text,
      hint = 'Leave out the customers who have an invoice that overlaps the period.';
  end if;

  -- write
  if v_line.invoices > 0 then
    v_first_number := private.take_invoice_numbers(v_year, v_line.invoices::integer);
  end if;

  with wanted as (
    select
      line.invoice_id,
      line.customer_id,
      sum(line.total) filter (where line.sale_id is null) as deliveries,
      sum(line.total) filter (where line.sale_id is not null) as sales,
      sum(line.total) as total,
      sum(line.gst_amount) as gst_amount
    from unnest(
      v_line.invoice_ids, v_line.customer_ids, v_line.sale_ids, v_line.totals, v_line.gst_amounts
    ) as line (invoice_id, customer_id, sale_id, total, gst_amount)
    where line.invoice_id is not null
    group by line.invoice_id, line.customer_id
  ),

  made as (
    insert into public.invoice_metadata as invoice (
      id, invoice_number, customer_id, invoice_date, period_start, period_end, total_amount,
      subscription_amount, manual_sales_amount, gst_amount, status, due_date, invoice_status
    )
    select
      wanted.invoice_id,
      v_year || lpad(
        (
          v_first_number - 1 + row_number() over (order by customer.billing_name, customer.id)
        )::text,
        5, '0'
      ),
      customer.id,
      v_today,
      p_period_start,
      p_period_end,
      wanted.total,
      coalesce(wanted.deliveries, 0),
      coalesce(wanted.sales, 0),
      wanted.gst_amount,
      'Sent',
      private.due_date(p_period_end, customer.billing_cycle_day),
      'sent'
    from wanted
    inner join public.customers as customer on wanted.customer_id = customer.id
    returning invoice.id, invoice.customer_id, invoice.invoice_number, invoice.total_amount
  )

  select
    array_agg(made.id) as ids,
    array_agg(made.customer_id) as customer_ids,
    array_agg(made.invoice_number) as numbers,
    array_agg(made.total_amount) as totals
  into v_invoice
  from made;

  insert into public.invoice_line_items (
    invoice_id, line_item_type, delivery_id, sale_id, order_id, product_id, product_name, quantity,
    unit_price, line_total, gst_rate, gst_amount
  )
  select
    line.invoice_id,
    line.type,
    line.delivery_id,
    line.sale_id,
    line.order_id,
    line.product_id,
    line.product_name,
    line.quantity,
    line.unit_price,
    line.total,
    line.gst_rate,
    line.gst_amount
  from unnest(
    v_line.invoice_ids, v_line.types, v_line.delivery_ids, v_line.sale_ids, v_line.order_ids,
    v_line.product_ids, v_line.product_names, v_line.quantities, v_line.unit_prices,
    v_line.totals, v_line.gst_rates, v_line.gst_amounts
  ) as line (
    invoice_id, type, delivery_id, sale_id, order_id, product_id, product_name, quantity,
    unit_price, total, gst_rate, gst_amount
  )
  where line.invoice_id is not null;

  -- return
  return query
  with judged as (
    select
      invoice.customer_id,
      'invoiced' as outcome,
      '{}'::jsonb as facts,
      invoice.id,
      invoice.number,
      invoice.total
    from unnest(v_invoice.ids, v_invoice.customer_ids, v_invoice.numbers, v_invoice.totals)
      as invoice (id, customer_id, number, total)
    union all
    select
      line.customer_id,
      line.outcome,
      line.facts,
      null,
      null,
      null
    from unnest(v_line.customer_ids, v_line.outcomes, v_line.facts)
      as line (customer_id, outcome, facts)
    where line.outcome <> 'invoiced'
  )

  select
    judged.customer_id,
    judged.outcome,
    judged.facts,
    judged.id,
    judged.number,
    judged.total
  from judged
  inner join public.customers as customer on judged.customer_id = customer.id
  order by customer.billing_name, customer.id;
end;
$$;

comment on function private.generate_invoices(uuid[], date, date, boolean) is
'Invoices customers for a period, all in one go: the core under the RPCs. Lines are in whole '
'paise as their deliveries and sales are; totals are sums of lines, never rounded again.';

revoke all on function private.generate_invoices(uuid[], date, date, boolean)
from public, anon, authenticated, service_role;
