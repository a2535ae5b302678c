-- GAP-007: bulk invoicing went on after individual failures and left a half-made month.
--
-- After this file a month is invoiced in one call, all of it or none, and every amount from which
-- invoices are made is a number: whole paise where it is owed. docs/gaps/gap_007.md tells the story.
--
-- Locks on what exists: `alter column` takes access exclusive on sales, and `create trigger` share row
-- exclusive on products, product_pricing_history, daily_orders, deliveries, invoice_metadata and
-- invoice_line_items, where reading goes on; both from the last sections to the commit.

-- what the gap adds ------------------------------------------------------------------------------

create table public.bulk_operation_logs (
  id uuid primary key default gen_random_uuid(),
  operation text not null,
  status text not null check (status in ('running', 'completed', 'failed')),
  parameters jsonb not null default '{}',
  outcomes jsonb not null default '[]',
  succeeded bigint,
  failed bigint,
  error text,
  started_by text not null,
  started_at timestamptz not null default now(),
  finished_at timestamptz
);

comment on table public.bulk_operation_logs is
'One row a bulk run, with the outcome of each customer; it is there also when the run failed.';

alter table public.bulk_operation_logs enable row level security;

create policy "Staff read" on public.bulk_operation_logs
for select to authenticated using (true);

revoke all on public.bulk_operation_logs from public, anon, authenticated, service_role;
grant select on public.bulk_operation_logs to authenticated, service_role;

-- functions, quoted from sql/functions ----------------------------------------------------------

-- >>> sql/functions/bulk_operations/log_bulk_operation.sql sha256:d028e4f8883680db8a69a437207d692771915685f53b11a75bb69ffed46b3acc
-- Opens the log of a bulk run: called before it, in a transaction of its own, so that the log is there
-- also when the run is refused or its connection is lost (then it stays `running`).
--
-- p_operation: what is run, such as generate_bulk_invoices_atomic; 1 to 100 characters.
-- p_parameters: a JSON object, at most 4 MB.
-- Refusals: PT400 operation_invalid, parameters_invalid
-- Locks: none.

create or replace function public.log_bulk_operation(
  p_operation text,
  p_parameters jsonb default '{}',
  out id uuid,
  out status text,
  out started_by text,
  out started_at timestamptz
)
returns record
language plpgsql
volatile
security definer -- the log is written by the database alone
set search_path = pg_catalog, pg_temp
as $$
begin
  -- check
  if p_operation is null or btrim(p_operation) = '' or length(p_operation) > 100 then
    raise exception using
      errcode = 'PT400',
      message = 'operation_invalid',
      detail = jsonb_build_object('length', length(p_operation), 'longest', 100)::text,
      hint = 'Name the operation that is about to run, in 1 to 100 characters.';
  elsif
    p_parameters is null
    or jsonb_typeof(p_parameters) <> 'object'
    or pg_column_size(p_parameters) > 4194304
  then
    raise exception using
      errcode = 'PT400',
      message = 'parameters_invalid',
      detail = jsonb_build_object(
        'given', coalesce(jsonb_typeof(p_parameters), 'null'),
        'bytes', pg_column_size(p_parameters)
      )::text,
      hint = 'Send the parameters of the run as a JSON object of at most 4 MB.';
  end if;

  -- write
  insert into public.bulk_operation_logs as log (operation, status, parameters, started_by)
  values (p_operation, 'running', p_parameters, private.caller())
  returning log.id, log.status, log.started_by, log.started_at
  into id, status, started_by, started_at;
end;
$$;

comment on function public.log_bulk_operation(text, jsonb) is
'Opens the log of a bulk run; call it before the run, in a transaction of its own.

p_operation: what is run, such as generate_bulk_invoices_atomic
p_parameters {*: jsonb}: what it is run with
status bulk_operation_logs.status
never null: all';

revoke all on function public.log_bulk_operation(text, jsonb)
from public, anon, authenticated, service_role;
grant execute on function public.log_bulk_operation(text, jsonb) to authenticated, service_role;
-- <<<

-- >>> sql/functions/bulk_operations/update_bulk_operation_status.sql sha256:2a2f2543cdd625b0ebc1693c84be18d688db4afc7b178095c70cdfec966783b0
-- Says in the log of a bulk run how it went: called after it, in a transaction of its own.
--
-- A log that is finished stays as it is; the same said again, after a lost answer, changes nothing.
-- The counts follow from the outcomes: `invoiced` and `deleted` succeeded, any other failed.
--
-- p_status: running (with what there is so far), completed or failed.
-- p_outcomes: as the run answered them, a list of objects with an outcome each; null keeps them.
-- Refusals:
--   PT400 status_invalid, outcomes_invalid
--   PT404 bulk_operation_not_found
--   PT409 bulk_operation_finished
-- Locks: the log's row.

create or replace function public.update_bulk_operation_status(
  p_id uuid,
  p_status text,
  p_outcomes jsonb default null,
  p_error text default null,
  out id uuid,
  out status text,
  out succeeded integer,
  out failed integer,
  out finished_at timestamptz
)
returns record
language plpgsql
volatile
security definer -- the log is written by the database alone
set search_path = pg_catalog, pg_temp
as $$
declare
  v_log public.bulk_operation_logs;
begin
  if p_status is null or p_status not in ('running', 'completed', 'failed') then
    raise exception using
      errcode = 'PT400',
      message = 'status_invalid',
      detail = jsonb_build_object('given', left(p_status, 100))::text,
      hint = 'A run is running, completed or failed.';
  elsif
    p_outcomes is not null
    and (
      jsonb_typeof(p_outcomes) <> 'array'
      or pg_column_size(p_outcomes) > 67108864
      or jsonb_path_exists(p_outcomes, 'strict $[*] ? (@.type() != "object")')
    )
  then
    raise exception using
      errcode = 'PT400',
      message = 'outcomes_invalid',
      detail = jsonb_build_object(
        'given', jsonb_typeof(p_outcomes), 'bytes', pg_column_size(p_outcomes)
      )::text,
      hint = 'Send the outcomes of the run as a list of objects, at most 64 MB.';
  end if;

  -- lock
  select log.* into v_log
  from public.bulk_operation_logs as log
  where log.id = p_id
  for no key update;

  -- check
  if not found then
    raise exception using
      errcode = 'PT404',
      message = 'bulk_operation_not_found',
      detail = jsonb_build_object('id', p_id)::text,
      hint = 'Open the log with log_bulk_operation before the run.';
  elsif
    v_log.status <> 'running'
    and (
      v_log.status <> p_status
      or v_log.outcomes <> coalesce(p_outcomes, v_log.outcomes)
      or v_log.error is distinct from coalesce(p_error, v_log.error)
    )
  then
    raise exception using
      errcode = 'PT409',
      message = 'bulk_operation_finished',
      detail = jsonb_build_object(
        'id', p_id, 'status', v_log.status, 'finished_at', v_log.finished_at
      )::text,
      hint = 'The log of a finished run stays as it is; open another one for another run.';
  end if;

  -- write
  update public.bulk_operation_logs as log
  set
    status = p_status,
    outcomes = coalesce(p_outcomes, log.outcomes),
    error = coalesce(p_error, log.error),
    succeeded = counted.succeeded,
    failed = counted.failed,
    finished_at = case when p_status <> 'running' then coalesce(log.finished_at, now()) end
  from (
    select
      count(*) filter (where line.value ->> 'outcome' in ('invoiced', 'deleted')) as succeeded,
      count(*) filter (
        where line.value ->> 'outcome' not in ('invoiced', 'deleted')
      ) as failed
    from jsonb_array_elements(coalesce(p_outcomes, v_log.outcomes)) as line (value)
  ) as counted
  where log.id = p_id
  -- return
  returning log.id, log.status, log.succeeded, log.failed, log.finished_at
  into id, status, succeeded, failed, finished_at;
end;
$$;

comment on function public.update_bulk_operation_status(uuid, text, jsonb, text) is
'Says in the log of a bulk run how it went; a log that is finished stays as it is.

p_status bulk_operation_logs.status
p_outcomes [jsonb] | null: as the run answered them; null keeps those that are there
p_error text | null: what it failed with
status bulk_operation_logs.status
never null: id, status';

revoke all on function public.update_bulk_operation_status(uuid, text, jsonb, text)
from public, anon, authenticated, service_role;
grant execute on function public.update_bulk_operation_status(uuid, text, jsonb, text)
to authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/billing_lines.sql sha256:df717cd85601b039baf1e6fa85386bc89d4547163c1a54f93c22d01328b96778
-- What an invoice of each customer for a period would bill, line by line, or why there is none: the
-- one place that decides it, for the preview and for the invoices themselves.
--
-- Billed are the delivered deliveries and the Credit sales still Pending that no live invoice has
-- billed and nobody paid: those of the period, and late ones. Late is what is dated before the period on a day that
-- a live invoice of the customer covers already: that day's own invoice can't be made any more. What
-- is dated on an older day that was never invoiced waits for the invoice of its own period. An invoice
-- whose total is not made up of lines that name their delivery or sale (the app may have written
-- one) is taken to have billed every delivery of its days: better late than twice.
--
-- outcome, the same on all rows of a customer:
--   invoiced          a row for each line
--   nothing_to_bill   one row without a line: no lines, or lines that come to nothing
--   already_invoiced  one row without a line: a live invoice overlaps the period (facts)
--   invalid_delivery  one row without a line: the total of a delivery isn't quantity times price, or
--                     no sum of money (facts: the first such delivery)
--   invalid_sale      likewise: a sale's amount is no sum of money, or its GST no part of it
--   total_too_large   one row without a line: the lines come to 10^10 or more
--
-- What the facts say of an invalid amount is text, and not all of it: it may have any length.
--
-- invoice_id: what the invoice can be called, where there is to be one.
-- unbilled: how many deliveries and sales the customer has to bill, whatever the outcome.
--
-- Rounding: none of what is owed. A line's total is the delivery's or the sale's total_amount, which
-- must be in whole paise; quantity times price may differ from it by the half paisa that somebody
-- rounded, up or down. What is rounded, once, to paise and here, is the GST inside of a sale.
-- Deliveries carry no GST.
--
-- Amounts are rupees.
-- Locks: none; the caller who writes holds the customers and their sales.

create or replace function private.billing_lines(
  p_customer_ids uuid[],
  p_period_start date,
  p_period_end date
)
returns table (
  customer_id uuid,
  outcome text,
  facts jsonb,
  invoice_id uuid,
  unbilled bigint,
  line_item_type text,
  delivery_id uuid,
  sale_id uuid,
  order_id uuid,
  product_id uuid,
  product_name text,
  quantity numeric,
  unit_price numeric,
  line_total numeric,
  gst_rate numeric,
  gst_amount numeric
)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan -- one customer or all of them: planned for that many
as $$
begin
  -- return
  return query
  with live_invoice as materialized (
    select
      invoice.customer_id,
      invoice.id,
      invoice.invoice_number,
      invoice.period_start,
      invoice.period_end,
      invoice.total_amount
    from public.invoice_metadata as invoice
    where invoice.customer_id = any(p_customer_ids)
      and invoice.invoice_status is distinct from 'cancelled'
      and invoice.period_start <= p_period_end
  ),

  unbilled as materialized (
    select
      delivery.customer_id,
      'subscription' as line_item_type,
      delivery.order_date as day,
      delivery.id as delivery_id,
      null::uuid as sale_id,
      delivery.daily_order_id as order_id,
      delivery.product_id,
      delivery.actual_quantity as quantity,
      delivery.unit_price,
      delivery.total_amount as line_total,
      0::numeric as gst_amount,
      case
        when delivery.actual_quantity >= 0 and delivery.actual_quantity < 10000000000
          and delivery.unit_price >= 0 and delivery.unit_price < 10000000000
          and delivery.total_amount >= 0 and delivery.total_amount < 10000000000
          then delivery.total_amount = round(delivery.total_amount, 2)
            and abs(delivery.total_amount - delivery.actual_quantity * delivery.unit_price)
            <= 0.005
        else false
      end as is_valid
    from public.deliveries as delivery
    where delivery.customer_id = any(p_customer_ids)
      and delivery.delivery_status = 'delivered'
      and delivery.order_date <= p_period_end
      and not exists (
        select
        from public.invoice_line_items as billed
        where billed.delivery_id = delivery.id and billed.bills
      )
    union all
    select
      sale.customer_id,
      'manual_sale',
      sale.sale_date,
      null,
      sale.id,
      null,
      sale.product_id,
      sale.quantity,
      sale.unit_price,
      sale.total_amount,
      coalesce(sale.gst_amount, 0),
      sale.total_amount > 0 and sale.total_amount < 10000000000
      and sale.total_amount = round(sale.total_amount, 2)
      and coalesce(sale.gst_amount, 0) between 0 and sale.total_amount
    from public.sales as sale
    where sale.customer_id = any(p_customer_ids)
      and sale.sale_type = 'Credit'
      and sale.payment_status = 'Pending'
      and sale.sale_date <= p_period_end
      and not exists (
        select
        from public.invoice_line_items as billed
        where billed.sale_id = sale.id and billed.bills
      )
      and not sale.amount_paid > 0
  ),

  item as materialized (
    select unbilled.*
    from unbilled
    where unbilled.day >= p_period_start
    union all
    select unbilled.*
    from unbilled
    where unbilled.day < p_period_start
      and exists (
        select
        from live_invoice
        where live_invoice.customer_id = unbilled.customer_id
          and unbilled.day between live_invoice.period_start and live_invoice.period_end
          and (
            unbilled.sale_id is not null
            or live_invoice.total_amount = (
              select coalesce(sum(line.line_total), 0)
              from public.invoice_line_items as line
              where line.invoice_id = live_invoice.id
                and (
                  line.delivery_id is not null
                  or line.sale_id is not null
                  or line.line_item_type = 'adjustment'
                )
            )
          )
      )
  ),

  overlap as (
    select distinct on (live_invoice.customer_id)
      live_invoice.customer_id,
      jsonb_build_object(
        'invoice_id', live_invoice.id,
        'invoice_number', live_invoice.invoice_number,
        'period_start', live_invoice.period_start,
        'period_end', live_invoice.period_end
      ) as facts
    from live_invoice
    where live_invoice.period_end >= p_period_start
    order by live_invoice.customer_id, live_invoice.period_start, live_invoice.id
  ),

  fault as (
    select distinct on (item.customer_id)
      item.customer_id,
      case when item.sale_id is null then 'invalid_delivery' else 'invalid_sale' end as outcome,
      jsonb_strip_nulls(jsonb_build_object(
        'delivery_id', item.delivery_id,
        'sale_id', item.sale_id,
        'day', item.day,
        'quantity', left(item.quantity::text, 40),
        'unit_price', left(item.unit_price::text, 40),
        'total_amount', left(item.line_total::text, 40),
        'gst_amount', case when item.sale_id is not null then left(item.gst_amount::text, 40) end
      )) as facts
    from item
    where not item.is_valid
    order by item.customer_id, item.day, item.delivery_id, item.sale_id
  ),

  amount as (
    select
      item.customer_id,
      sum(item.line_total) filter (where item.is_valid) as total,
      count(*) as unbilled
    from item
    group by item.customer_id
  ),

  verdict as materialized (
    select
      asked.customer_id,
      case
        when overlap.customer_id is not null then 'already_invoiced'
        when fault.customer_id is not null then fault.outcome
        when amount.total >= 10000000000 then 'total_too_large'
        when amount.total > 0 then 'invoiced'
        else 'nothing_to_bill'
      end as outcome,
      coalesce(
        overlap.facts,
        fault.facts,
        case
          when amount.total >= 10000000000 then jsonb_build_object('total_amount', amount.total)
        end,
        '{}'
      ) as facts,
      gen_random_uuid() as invoice_id,
      coalesce(amount.unbilled, 0) as unbilled
    from unnest(p_customer_ids) as asked (customer_id)
    left join overlap on asked.customer_id = overlap.customer_id
    left join fault on asked.customer_id = fault.customer_id
    left join amount on asked.customer_id = amount.customer_id
  )

  select
    verdict.customer_id,
    verdict.outcome,
    verdict.facts,
    case when verdict.outcome = 'invoiced' then verdict.invoice_id end,
    verdict.unbilled,
    item.line_item_type,
    item.delivery_id,
    item.sale_id,
    item.order_id,
    item.product_id,
    product.name,
    item.quantity,
    item.unit_price,
    item.line_total,
    case
      when item.delivery_id is not null then 0
      when item.sale_id is not null then coalesce(product.gst_rate, 0)
    end,
    round(item.gst_amount, 2)
  from verdict
  left join item on verdict.customer_id = item.customer_id and verdict.outcome = 'invoiced'
  left join public.products as product on item.product_id = product.id
  order by verdict.customer_id, item.day, item.line_item_type desc, item.delivery_id, item.sale_id;
end;
$$;

comment on function private.billing_lines(uuid[], date, date) is
'What an invoice of each customer for a period would bill, line by line, or why there is none. '
'Amounts are whole paise as they stand; only the GST inside of a sale is rounded, here, once.';

revoke all on function private.billing_lines(uuid[], date, date)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/billing_reason.sql sha256:d8f49bf47792188594f2768a7fe7df7c4677d69462956471b18e61fb5ba4d281
-- Why a customer gets no invoice, as a sentence for people; null for one who does. Outcome and facts
-- are those of billing_lines.
--
-- Locks: none.

create or replace function private.billing_reason(p_outcome text, p_facts jsonb)
returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- return
  return case p_outcome
    when 'nothing_to_bill' then 'There is nothing to bill.'
    when 'already_invoiced' then format(
      'Invoice %s covers %s to %s already.',
      coalesce(p_facts ->> 'invoice_number', p_facts ->> 'invoice_id'),
      p_facts ->> 'period_start',
      p_facts ->> 'period_end'
    )
    when 'invalid_delivery' then format(
      'The delivery of %s says %s × %s = %s.',
      p_facts ->> 'day',
      coalesce(p_facts ->> 'quantity', 'nothing'),
      p_facts ->> 'unit_price',
      p_facts ->> 'total_amount'
    )
    when 'invalid_sale' then format(
      'The sale of %s says %s, of which GST %s: no sum of money, or no part of it.',
      p_facts ->> 'day',
      p_facts ->> 'total_amount',
      p_facts ->> 'gst_amount'
    )
    when 'total_too_large' then format(
      'Everything together comes to %s, which is no invoice.', p_facts ->> 'total_amount'
    )
  end;
end;
$$;

comment on function private.billing_reason(text, jsonb) is
'Why a customer gets no invoice, as a sentence for people.';

revoke all on function private.billing_reason(text, jsonb)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/check_billed_amounts.sql sha256:765d4b6d30694ba8690d31665d613ec4d804d083e2a177393f7f913a100c8e93
-- Every amount from or of which invoices are made that is no sum of money, or no number, one row each;
-- a part of check_payment_invariants.
--
-- Locks: none. It reads one snapshot.

create or replace function private.check_billed_amounts()
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
  select
    'billed_amounts_valid',
    'product',
    product.id::text,
    '0 or more, below 10^10',
    'price ' || left(product.current_price::text, 40)
  from public.products as product
  where not (product.current_price >= 0 and product.current_price < 10000000000)
  union all
  select
    'billed_amounts_valid',
    'product_price',
    history.id::text,
    '0 or more, below 10^10',
    'price ' || left(history.price::text, 40)
  from public.product_pricing_history as history
  where not (history.price >= 0 and history.price < 10000000000)
  union all
  select
    'billed_amounts_valid',
    'daily_order',
    daily.id::text,
    '0 or more, below 10^10, totals in whole paise',
    concat_ws(
      ', ',
      'quantity ' || left(daily.planned_quantity::text, 40),
      'price ' || left(daily.unit_price::text, 40),
      'total ' || left(daily.total_amount::text, 40)
    )
  from public.daily_orders as daily
  where
    not (daily.planned_quantity >= 0 and daily.planned_quantity < 10000000000)
    or not (daily.unit_price >= 0 and daily.unit_price < 10000000000)
    or not (
      daily.total_amount >= 0
      and daily.total_amount < 10000000000
      and daily.total_amount = round(daily.total_amount, 2)
    )
  union all
  select
    'billed_amounts_valid',
    'delivery',
    delivery.id::text,
    '0 or more, below 10^10, totals in whole paise',
    concat_ws(
      ', ',
      'planned ' || left(delivery.planned_quantity::text, 40),
      'actual ' || left(delivery.actual_quantity::text, 40),
      'price ' || left(delivery.unit_price::text, 40),
      'total ' || left(delivery.total_amount::text, 40)
    )
  from public.deliveries as delivery
  where
    not (delivery.planned_quantity >= 0 and delivery.planned_quantity < 10000000000)
    or not (delivery.actual_quantity >= 0 and delivery.actual_quantity < 10000000000)
    or not (delivery.unit_price >= 0 and delivery.unit_price < 10000000000)
    or not (
      delivery.total_amount >= 0
      and delivery.total_amount < 10000000000
      and delivery.total_amount = round(delivery.total_amount, 2)
    )
  union all
  select
    'billed_amounts_valid',
    'sale',
    sale.id::text,
    '0 or more, below 10^10',
    concat_ws(
      ', ',
      'quantity ' || left(sale.quantity::text, 40),
      'price ' || left(sale.unit_price::text, 40),
      'GST ' || left(sale.gst_amount::text, 40)
    )
  from public.sales as sale
  where
    not (sale.quantity >= 0 and sale.quantity < 10000000000)
    or not (sale.unit_price >= 0 and sale.unit_price < 10000000000)
    or not (sale.gst_amount >= 0 and sale.gst_amount < 10000000000)
  union all
  select
    'billed_amounts_valid',
    'invoice',
    invoice.id::text,
    '0 or more, below 10^10, parts in whole paise',
    concat_ws(
      ', ',
      'subscription ' || left(invoice.subscription_amount::text, 40),
      'sales ' || left(invoice.manual_sales_amount::text, 40),
      'GST ' || left(invoice.gst_amount::text, 40)
    )
  from public.invoice_metadata as invoice
  where
    not (
      invoice.subscription_amount >= 0
      and invoice.subscription_amount < 10000000000
      and invoice.subscription_amount = round(invoice.subscription_amount, 2)
    )
    or not (
      invoice.manual_sales_amount >= 0
      and invoice.manual_sales_amount < 10000000000
      and invoice.manual_sales_amount = round(invoice.manual_sales_amount, 2)
    )
    or not (invoice.gst_amount >= 0 and invoice.gst_amount < 10000000000)
  union all
  select
    'billed_amounts_valid',
    'invoice_line',
    item.id::text,
    'below 10^10, 0 or more unless an adjustment, totals in whole paise',
    concat_ws(
      ', ',
      'quantity ' || left(item.quantity::text, 40),
      'price ' || left(item.unit_price::text, 40),
      'total ' || left(item.line_total::text, 40),
      'GST ' || left(item.gst_amount::text, 40),
      'rate ' || left(item.gst_rate::text, 40)
    )
  from public.invoice_line_items as item
  where
    not (
      greatest(item.quantity, item.unit_price, item.line_total, item.gst_amount) < 10000000000
      and (
        least(item.quantity, item.unit_price, item.line_total, item.gst_amount) >= 0
        or (
          item.line_item_type is not distinct from 'adjustment'
          and least(item.quantity, item.unit_price, item.line_total, item.gst_amount)
          > -10000000000
        )
      )
    )
    or item.line_total <> round(item.line_total, 2)
    or not (item.gst_rate >= 0 and item.gst_rate <= 100);
end;
$$;

comment on function private.check_billed_amounts() is
'Every amount from or of which invoices are made that is no number, or owed and no sum of money.';

revoke all on function private.check_billed_amounts()
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/check_period.sql sha256:b6e8bdcdf736e8d8a0572cd7c56fee84adb56069a5590c6430e5e53f6e9e645b
-- Refuses what is no billing period: a missing, reversed or infinite one, one longer than a year,
-- or one outside of the years 2000 to 2999.
--
-- Refusals: PT400 period_required, period_invalid
-- Locks: none.

create or replace function private.check_period(
  p_period_start date,
  p_period_end date
)
returns void
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- check
  if p_period_start is null or p_period_end is null then
    raise exception using
      errcode = 'PT400',
      message = 'period_required',
      detail = jsonb_build_object(
        'period_start', p_period_start, 'period_end', p_period_end
      )::text,
      hint = 'Name the first and the last day of the period.';
  elsif
    p_period_start < date '2000-01-01'
    or p_period_end > date '2999-12-31'
    or p_period_end < p_period_start
    or p_period_end - p_period_start > 365
  then
    raise exception using
      errcode = 'PT400',
      message = 'period_invalid',
      detail = jsonb_build_object(
        'period_start', p_period_start, 'period_end', p_period_end, 'longest_in_days', 366
      )::text,
      hint = 'A period ends on or after its first day and is no longer than a year.';
  end if;
end;
$$;

comment on function private.check_period(date, date) is
'Refuses a billing period that is missing, reversed, infinite or longer than a year.';

revoke all on function private.check_period(date, date)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/delete_bulk_invoices_safe.sql sha256:6a6b6081288c46fc75d0603deefb196d9910c66ce967a53e5498e7f1a31df2cd
-- Deletes invoices so that they can be recovered, and sets free what they billed: what
-- delete_invoice_safe does, for many at once, all or nothing.
--
-- p_invoice_ids: one named twice counts once.
-- p_validate_payments: true refuses the run when one of them holds money; false skips and reports
-- those. Money is never taken off. What is deleted already is skipped either way.
-- outcomes: a list in the order of the invoices' numbers, for each invoice_id its outcome (deleted,
-- holds_money, already_deleted), invoice_number, customer_id, and total_amount and amount_paid in
-- rupees.
--
-- With an idempotency key the same call gets its first answer again (see claim_request).
--
-- Refusals, raised so that nothing stays written:
--   PT400 invoice_ids_invalid, idempotency_key_invalid
--   PT404 invoice_not_found
--   PT409 invoice_holds_money, idempotency_key_reused, request_undone
--
-- Locks: the idempotency key, then customers by id, invoices by id `for update`, their sales by id.

create or replace function public.delete_bulk_invoices_safe(
  p_invoice_ids uuid[],
  p_validate_payments boolean default true,
  out success boolean,
  out invoices_deleted integer,
  out skipped integer,
  out reverted_sales_count integer,
  out outcomes jsonb
)
returns record
language plpgsql
volatile
security definer -- deletions, sales and the audit trail are written by the database alone
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan -- one invoice or a month of them: planned for that many
as $$
declare
  v_key text := private.idempotency_key();
  v_outer_call text := coalesce(current_setting('pymilk.call_id', true), ''); -- in its trigger
  v_refuse_money boolean := coalesce(p_validate_payments, true);
  v_invoice_ids uuid[];
  v_nameless bigint;
  v_arguments jsonb;
  v_request record;
  v_unknown uuid[];
  v_holding uuid[];
  v_deletable uuid[];
begin
  select array_agg(distinct named.id order by named.id), count(*) filter (where named.id is null)
  into v_invoice_ids, v_nameless
  from unnest(p_invoice_ids) as named (id);

  if v_invoice_ids is null or v_nameless > 0 then
    raise exception using
      errcode = 'PT400',
      message = 'invoice_ids_invalid',
      detail = jsonb_build_object('invoice_ids', p_invoice_ids[1:100])::text,
      hint = 'Name at least one invoice to delete, each by its id.';
  end if;

  v_arguments := jsonb_build_object(
    'invoice_ids', v_invoice_ids, 'validate_payments', v_refuse_money
  );

  -- lock
  select claimed.call_id, claimed.answer into v_request
  from private.claim_request('delete_bulk_invoices_safe', v_key, v_arguments) as claimed;

  if v_request.answer is not null then
    select first_answer.*
    into success, invoices_deleted, skipped, reverted_sales_count, outcomes
    from jsonb_to_record(v_request.answer) as first_answer (
      success boolean,
      invoices_deleted integer,
      skipped integer,
      reverted_sales_count integer,
      outcomes jsonb
    );
    return;
  end if;

  perform
  from public.customers as customer
  where customer.id in (
    select invoice.customer_id
    from public.invoice_metadata as invoice
    where invoice.id = any(v_invoice_ids)
  )
  order by customer.id
  for no key update;

  perform
  from public.invoice_metadata as invoice
  where invoice.id = any(v_invoice_ids)
  order by invoice.id
  for update;

  -- check
  with judged as (
    select
      named.id,
      invoice.invoice_number,
      invoice.customer_id,
      invoice.total_amount,
      invoice.amount_paid,
      case
        when invoice.id is null then 'unknown'
        when invoice.deleted_at is not null then 'already_deleted'
        when
          exists (
            select
            from public.invoice_payments as allocation
            where allocation.invoice_id = named.id
          )
          then 'holds_money'
        else 'deleted'
      end as outcome
    from unnest(v_invoice_ids) as named (id)
    left join public.invoice_metadata as invoice on named.id = invoice.id
  )

  select
    array_agg(judged.id) filter (where judged.outcome = 'unknown'),
    array_agg(judged.id) filter (where judged.outcome = 'holds_money'),
    array_agg(judged.id) filter (where judged.outcome = 'deleted'),
    count(*) filter (where judged.outcome <> 'deleted'),
    jsonb_agg(
      jsonb_build_object(
        'invoice_id', judged.id,
        'outcome', judged.outcome,
        'invoice_number', judged.invoice_number,
        'customer_id', judged.customer_id,
        'total_amount', judged.total_amount,
        'amount_paid', judged.amount_paid
      )
      order by judged.invoice_number, judged.id
    )
  into v_unknown, v_holding, v_deletable, skipped, outcomes
  from judged;

  if v_unknown is not null then
    raise exception using
      errcode = 'PT404',
      message = 'invoice_not_found',
      detail = jsonb_build_object('invoice_ids', v_unknown[1:100])::text,
      hint = 'The invoice does not exist or was deleted for good; reload the list of invoices.';
  elsif v_refuse_money and v_holding is not null then
    raise exception using
      errcode = 'PT409',
      message = 'invoice_holds_money',
      detail = jsonb_build_object(
        'invoices', cardinality(v_holding), 'invoice_ids', v_holding[1:100]
      )::text,
      hint = 'Take the payments off the invoices first, or leave them out.';
  end if;

  -- write
  perform set_config('pymilk.call_id', v_request.call_id::text, true);

  select deleted.reverted_sales_count into reverted_sales_count
  from private.delete_invoices(coalesce(v_deletable, '{}'), false) as deleted;

  perform set_config('pymilk.call_id', v_outer_call, true);

  -- return
  success := true;
  invoices_deleted := coalesce(cardinality(v_deletable), 0);

  perform private.finish_request(
    'delete_bulk_invoices_safe', v_key, v_arguments, v_request.call_id,
    jsonb_build_object(
      'success', success,
      'invoices_deleted', invoices_deleted,
      'skipped', skipped,
      'reverted_sales_count', reverted_sales_count,
      'outcomes', outcomes
    )
  );
end;
$$;

comment on function public.delete_bulk_invoices_safe(uuid[], boolean) is
'Deletes invoices, all or nothing, recoverably; what they billed is free again.

p_validate_payments: false skips and reports those that hold money, instead of refusing
outcomes [{"invoice_id": uuid, "outcome": "deleted" | "holds_money" | "already_deleted",
  "invoice_number": text | null, "customer_id": uuid, "total_amount": numeric, "amount_paid":
  numeric | null}]
never null: all';

revoke all on function public.delete_bulk_invoices_safe(uuid[], boolean)
from public, anon, authenticated, service_role;
grant execute on function public.delete_bulk_invoices_safe(uuid[], boolean) to service_role;
-- <<<

-- >>> sql/functions/invoices/due_date.sql sha256:cfb584d6dba29070017c39990f71cbf3e5f0de8c90defeb6ba8ebecf668a62bc
-- The day on which an invoice is due: the customer's first billing day after the period's end. A
-- billing day that a month doesn't have is its last day; without a billing day it is the 1st.
--
-- Locks: none.

create or replace function private.due_date(
  p_period_end date,
  p_billing_cycle_day integer
)
returns date
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_day integer := coalesce(p_billing_cycle_day, 1);
  v_month date := date_trunc('month', p_period_end::timestamp)::date;
  v_next date := (v_month + interval '1 month')::date;
  v_due date := v_month + least(v_day, v_next - v_month) - 1;
begin
  -- return
  if v_due > p_period_end then
    return v_due;
  end if;

  return v_next + least(v_day, (v_next + interval '1 month')::date - v_next) - 1;
end;
$$;

comment on function private.due_date(date, integer) is
'The first billing day after a period''s end, clamped to its month; the 1st without a billing day.';

revoke all on function private.due_date(date, integer)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/financial_year.sql sha256:65dffa3094dd4606c8938c1d63bcd5ab296b308f47055df05365b155f8a9d8a9
-- The code of a day's financial year, April to March: 202526 from 2025-04-01 to 2026-03-31.
--
-- Locks: none.

create or replace function private.financial_year(p_day date)
returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_first date := (p_day - interval '3 months')::date;
begin
  -- return
  return to_char(v_first, 'YYYY') || to_char(v_first + interval '1 year', 'YY');
end;
$$;

comment on function private.financial_year(date) is
'The code of a day''s financial year, April to March: 202526.';

revoke all on function private.financial_year(date)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/generate_bulk_invoices_atomic.sql sha256:841182e428ca73787d4d7211147ff9399c65c1667cc62004e41d352bbdcd5231
-- Invoices many customers for a period in one step: every customer who can be invoiced is, or, when
-- anything fails, nobody. What each customer's invoice bills is told by billing_lines.
--
-- p_customer_ids: null for everyone who has something to bill; one named twice counts once.
-- p_validate_existing: true refuses the run when one of them has a live invoice that overlaps the
-- period; false skips and reports those.
-- outcomes: a list in the order of the customers' names, for each customer_id its outcome (invoiced,
-- nothing_to_bill, already_invoiced, invalid_delivery, invalid_sale), invoice_id, invoice_number,
-- total_amount in rupees, and the reason, a sentence, and facts where there is no invoice.
-- The log of a run is the caller's (log_bulk_operation): a refused run rolls back all of its own.
--
-- With an idempotency key the same call gets its first answer again (see claim_request).
--
-- Refusals, raised so that nothing stays written:
--   PT400 period_required, period_invalid, customers_empty, customer_required,
--         idempotency_key_invalid
--   PT404 customer_not_found
--   PT409 already_invoiced, invoice_numbers_exhausted, idempotency_key_reused, request_undone
--
-- Locks: the idempotency key, then customers by id, then as generate_invoices says.

create or replace function public.generate_bulk_invoices_atomic(
  p_period_start date,
  p_period_end date,
  p_customer_ids uuid[],
  p_validate_existing boolean default true,
  out success boolean,
  out invoices_created integer,
  out skipped integer,
  out total_amount numeric,
  out invoice_numbers text[],
  out outcomes jsonb
)
returns record
language plpgsql
volatile
security definer -- numbers, keys and the audit trail are written by the database alone
set search_path = pg_catalog, pg_temp
as $$
declare
  v_key text := private.idempotency_key();
  v_outer_call text := coalesce(current_setting('pymilk.call_id', true), ''); -- in its trigger
  v_refuse_invoiced boolean := coalesce(p_validate_existing, true);
  v_customer_ids uuid[] := private.parse_customer_ids(p_customer_ids);
  v_arguments jsonb;
  v_request record;
begin
  v_arguments := jsonb_build_object(
    'period_start', p_period_start,
    'period_end', p_period_end,
    'customer_ids', v_customer_ids,
    'validate_existing', v_refuse_invoiced
  );

  -- lock
  select claimed.call_id, claimed.answer into v_request
  from private.claim_request('generate_bulk_invoices_atomic', v_key, v_arguments) as claimed;

  if v_request.answer is not null then
    select first_answer.*
    into success, invoices_created, skipped, total_amount, invoice_numbers, outcomes
    from jsonb_to_record(v_request.answer) as first_answer (
      success boolean,
      invoices_created integer,
      skipped integer,
      total_amount numeric,
      invoice_numbers text[],
      outcomes jsonb
    );
    return;
  end if;

  -- check and write
  perform set_config('pymilk.call_id', v_request.call_id::text, true);

  select
    true,
    count(*) filter (where made.outcome = 'invoiced'),
    count(*) filter (where made.outcome <> 'invoiced'),
    coalesce(sum(made.total_amount), 0),
    coalesce(array_agg(made.invoice_number) filter (where made.outcome = 'invoiced'), '{}'),
    coalesce(
      jsonb_agg(
        jsonb_build_object(
          'customer_id', made.customer_id,
          'outcome', made.outcome,
          'invoice_id', made.invoice_id,
          'invoice_number', made.invoice_number,
          'total_amount', made.total_amount,
          'reason', private.billing_reason(made.outcome, made.facts),
          'facts', made.facts
        )
      ), '[]'
    )
  into success, invoices_created, skipped, total_amount, invoice_numbers, outcomes
  from private.generate_invoices(
    v_customer_ids, p_period_start, p_period_end, v_refuse_invoiced
  ) as made;

  perform set_config('pymilk.call_id', v_outer_call, true);

  -- return
  perform private.finish_request(
    'generate_bulk_invoices_atomic', v_key, v_arguments, v_request.call_id,
    jsonb_build_object(
      'success', success,
      'invoices_created', invoices_created,
      'skipped', skipped,
      'total_amount', total_amount,
      'invoice_numbers', invoice_numbers,
      'outcomes', outcomes
    )
  );
end;
$$;

comment on function public.generate_bulk_invoices_atomic(date, date, uuid[], boolean) is
'Invoices customers for a period, all or nothing.

p_customer_ids uuid[] | null: null is everyone with something to bill
p_validate_existing: false skips and reports those who are invoiced already, instead of refusing
invoice_numbers text[]
outcomes [{"customer_id": uuid, "outcome": text, "invoice_id": uuid | null, "invoice_number":
  text | null, "total_amount": numeric | null, "reason": text | null, "facts": jsonb}]: by the
  customers'' names; a reason where there is no invoice
never null: all';

revoke all on function public.generate_bulk_invoices_atomic(date, date, uuid[], boolean)
from public, anon, authenticated, service_role;
grant execute on function public.generate_bulk_invoices_atomic(date, date, uuid[], boolean)
to authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/generate_invoices.sql sha256:1a5da3d7c1d0083e2061a8c5448457330d41e62a7818e630f8b74909537f2081
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
-- <<<

-- >>> sql/functions/invoices/parse_customer_ids.sql sha256:f3338bd09eded85dacae6499c7ac996d1c35b6f341540b8abbf59a581e088a24
-- The customers that a caller names for a bulk run, each once and in one order; null for everyone.
--
-- Refusals: PT400 customers_empty, customer_required
-- Locks: none.

create or replace function private.parse_customer_ids(p_customer_ids uuid[])
returns uuid[]
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_customer_ids uuid[];
  v_named bigint;
  v_nameless bigint;
begin
  select
    array_agg(distinct named.id order by named.id),
    count(*),
    count(*) filter (where named.id is null)
  into v_customer_ids, v_named, v_nameless
  from unnest(p_customer_ids) as named (id);

  -- check
  if p_customer_ids is not null and v_named = 0 then
    raise exception using
      errcode = 'PT400',
      message = 'customers_empty',
      detail = jsonb_build_object('customers', 0)::text,
      hint = 'Name at least one customer, or send null for everyone with something to bill.';
  elsif v_nameless > 0 then
    raise exception using
      errcode = 'PT400',
      message = 'customer_required',
      detail = jsonb_build_object('customers', v_named, 'without_id', v_nameless)::text,
      hint = 'Each line of the list names a customer.';
  end if;

  -- return
  return v_customer_ids;
end;
$$;

comment on function private.parse_customer_ids(uuid[]) is
'The customers that a caller names for a bulk run, each once; null for everyone.';

revoke all on function private.parse_customer_ids(uuid[])
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/preview_bulk_invoices.sql sha256:8ebdde7c9cd5e590c3a2bc6e58cc04402172a352b7079b93d557b27c4f039328
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
-- <<<

-- >>> sql/functions/invoices/take_invoice_numbers.sql sha256:4313c27b874a4e6b24dbb5177e2d1c4b5f52641e19e48af6a5257db07b776224
-- Takes the next invoice numbers of a financial year, one after the other, and returns the first.
--
-- They follow the highest one in use. What the app inserts meanwhile may be the same number: then
-- the unique constraint refuses the later of the two.
--
-- p_financial_year: a valid code (private.financial_year).
-- Refusals: PT409 invoice_numbers_exhausted
-- Locks: an advisory one for the year, after customers and before invoices, until the transaction
-- ends: a transaction that fails gives its numbers back.

create or replace function private.take_invoice_numbers(
  p_financial_year text,
  p_count integer
)
returns integer
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_last integer;
begin
  -- lock
  perform pg_advisory_xact_lock(
    hashtextextended(jsonb_build_array('pymilk invoices', p_financial_year)::text, 0)
  );

  -- check
  select coalesce(max(right(invoice.invoice_number, 5)::integer), 0) into v_last
  from public.invoice_metadata as invoice
  where invoice.invoice_number ~ ('^' || p_financial_year || '[0-9]{5}$');

  if v_last + p_count > 99999 then
    raise exception using
      errcode = 'PT409',
      message = 'invoice_numbers_exhausted',
      detail = jsonb_build_object(
        'financial_year', p_financial_year, 'last_number', v_last, 'wanted', p_count
      )::text,
      hint = 'The five digits of this financial year are used up.';
  end if;

  -- return
  return v_last + 1;
end;
$$;

comment on function private.take_invoice_numbers(text, integer) is
'Takes the next invoice numbers of a financial year and returns the first.';

revoke all on function private.take_invoice_numbers(text, integer)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/check_payment_invariants.sql sha256:aabb2eb23dfd07efccf996b7b5e2e241ab73ed111d0e6f0f5783d68ed6aa066c
-- Every broken invariant of the books, one row each; none when all is well. The same questions as
-- sql/invariants asks from outside, by the same names; each part stands in a function of its own.
--
-- Locks: none. It reads one snapshot.

create or replace function public.check_payment_invariants()
returns table (
  invariant text,
  entity text,
  entity_id text,
  expected text,
  found text
)
language plpgsql
stable
security definer -- to whom row security hides rows, all would seem well
set search_path = pg_catalog, pg_temp
as $$
begin
  -- return
  return query
  select * from private.check_payments()
  union all
  select * from private.check_unapplied_payments()
  union all
  select * from private.check_settlements()
  union all
  select * from private.check_billing()
  union all
  select * from private.check_billed_amounts();
end;
$$;

comment on function public.check_payment_invariants() is
'Every broken invariant of the books as a row; none when all is well.

entity: what kind of thing breaks it, such as payment or invoice
entity_id: which one; null when it is the books as a whole
never null: invariant, entity';

revoke all on function public.check_payment_invariants()
from public, anon, authenticated, service_role;
grant execute on function public.check_payment_invariants() to authenticated, service_role;
-- <<<

-- the dairy's day, and what amounts may be ---------------------------------------------------------

-- The server's day is still yesterday between midnight and 05:30 in Kolkata.
alter table public.sales alter column sale_date set default public.business_today();

-- What is owed has whole paise. Prices and the GST inside of a price may have more decimals, but are
-- numbers. The rules stand in WHEN clauses, and those for updates compare with the row as it was: a
-- row that offends already can be touched elsewhere.

create trigger refuse_price_on_insert
before insert on public.products
for each row
when (
  not (new.current_price >= 0 and new.current_price < 10000000000)
)
execute function private.refuse_row(
  'products_price_valid',
  'current_price',
  'the price of a product is 0 or more and below 10,000,000,000',
  'Write the price in rupees.'
);

create trigger refuse_price_on_update
before update on public.products
for each row
when (
  (
    new.current_price is distinct from old.current_price
    and not (new.current_price >= 0 and new.current_price < 10000000000)
  )
)
execute function private.refuse_row(
  'products_price_valid',
  'current_price',
  'the price of a product is 0 or more and below 10,000,000,000',
  'Write the price in rupees.'
);

create trigger refuse_price_on_insert
before insert on public.product_pricing_history
for each row
when (
  not (new.price >= 0 and new.price < 10000000000)
)
execute function private.refuse_row(
  'product_pricing_history_price_valid',
  'price',
  'the price of a product is 0 or more and below 10,000,000,000',
  'Write the price in rupees.'
);

create trigger refuse_price_on_update
before update on public.product_pricing_history
for each row
when (
  (
    new.price is distinct from old.price
    and not (new.price >= 0 and new.price < 10000000000)
  )
)
execute function private.refuse_row(
  'product_pricing_history_price_valid',
  'price',
  'the price of a product is 0 or more and below 10,000,000,000',
  'Write the price in rupees.'
);

create trigger refuse_total_on_insert
before insert on public.daily_orders
for each row
when (
  not (
    new.total_amount >= 0
    and new.total_amount < 10000000000
    and new.total_amount = round(new.total_amount, 2)
  )
)
execute function private.refuse_row(
  'daily_orders_total_valid',
  'total_amount',
  'the total of an order is 0 or more, below 10,000,000,000 and has at most two decimals',
  'Round quantity times price to whole paise.'
);

create trigger refuse_total_on_update
before update on public.daily_orders
for each row
when (
  (
    new.total_amount is distinct from old.total_amount
    and not (
      new.total_amount >= 0
      and new.total_amount < 10000000000
      and new.total_amount = round(new.total_amount, 2)
    )
  )
)
execute function private.refuse_row(
  'daily_orders_total_valid',
  'total_amount',
  'the total of an order is 0 or more, below 10,000,000,000 and has at most two decimals',
  'Round quantity times price to whole paise.'
);

create trigger refuse_price_on_insert
before insert on public.daily_orders
for each row
when (
  not (new.unit_price >= 0 and new.unit_price < 10000000000)
  or not (new.planned_quantity >= 0 and new.planned_quantity < 10000000000)
)
execute function private.refuse_row(
  'daily_orders_price_valid',
  'unit_price',
  'quantity and price of an order are 0 or more and below 10,000,000,000',
  'Write the price in rupees.',
  'planned_quantity'
);

create trigger refuse_price_on_update
before update on public.daily_orders
for each row
when (
  (
    new.unit_price is distinct from old.unit_price
    and not (new.unit_price >= 0 and new.unit_price < 10000000000)
  )
  or (
    new.planned_quantity is distinct from old.planned_quantity
    and not (new.planned_quantity >= 0 and new.planned_quantity < 10000000000)
  )
)
execute function private.refuse_row(
  'daily_orders_price_valid',
  'unit_price',
  'quantity and price of an order are 0 or more and below 10,000,000,000',
  'Write the price in rupees.',
  'planned_quantity'
);

create trigger refuse_total_on_insert
before insert on public.deliveries
for each row
when (
  not (
    new.total_amount >= 0
    and new.total_amount < 10000000000
    and new.total_amount = round(new.total_amount, 2)
  )
)
execute function private.refuse_row(
  'deliveries_total_valid',
  'total_amount',
  'the total of a delivery is 0 or more, below 10,000,000,000 and has at most two decimals',
  'Round quantity times price to whole paise.'
);

create trigger refuse_total_on_update
before update on public.deliveries
for each row
when (
  (
    new.total_amount is distinct from old.total_amount
    and not (
      new.total_amount >= 0
      and new.total_amount < 10000000000
      and new.total_amount = round(new.total_amount, 2)
    )
  )
)
execute function private.refuse_row(
  'deliveries_total_valid',
  'total_amount',
  'the total of a delivery is 0 or more, below 10,000,000,000 and has at most two decimals',
  'Round quantity times price to whole paise.'
);

create trigger refuse_price_on_insert
before insert on public.deliveries
for each row
when (
  not (new.unit_price >= 0 and new.unit_price < 10000000000)
  or not (new.planned_quantity >= 0 and new.planned_quantity < 10000000000)
  or not (new.actual_quantity >= 0 and new.actual_quantity < 10000000000)
)
execute function private.refuse_row(
  'deliveries_price_valid',
  'unit_price',
  'quantities and price of a delivery are 0 or more and below 10,000,000,000',
  'Write the price in rupees.',
  'planned_quantity',
  'actual_quantity'
);

create trigger refuse_price_on_update
before update on public.deliveries
for each row
when (
  (
    new.unit_price is distinct from old.unit_price
    and not (new.unit_price >= 0 and new.unit_price < 10000000000)
  )
  or (
    new.planned_quantity is distinct from old.planned_quantity
    and not (new.planned_quantity >= 0 and new.planned_quantity < 10000000000)
  )
  or (
    new.actual_quantity is distinct from old.actual_quantity
    and not (new.actual_quantity >= 0 and new.actual_quantity < 10000000000)
  )
)
execute function private.refuse_row(
  'deliveries_price_valid',
  'unit_price',
  'quantities and price of a delivery are 0 or more and below 10,000,000,000',
  'Write the price in rupees.',
  'planned_quantity',
  'actual_quantity'
);

create trigger refuse_price_on_insert
before insert on public.sales
for each row
when (
  not (new.unit_price >= 0 and new.unit_price < 10000000000)
  or not (new.quantity >= 0 and new.quantity < 10000000000)
  or not (new.gst_amount >= 0 and new.gst_amount < 10000000000)
)
execute function private.refuse_row(
  'sales_price_valid',
  'unit_price',
  'quantity, price and GST of a sale are 0 or more and below 10,000,000,000',
  'Write price and GST in rupees.',
  'quantity',
  'gst_amount'
);

create trigger refuse_price_on_update
before update on public.sales
for each row
when (
  (
    new.unit_price is distinct from old.unit_price
    and not (new.unit_price >= 0 and new.unit_price < 10000000000)
  )
  or (
    new.quantity is distinct from old.quantity
    and not (new.quantity >= 0 and new.quantity < 10000000000)
  )
  or (
    new.gst_amount is distinct from old.gst_amount
    and not (new.gst_amount >= 0 and new.gst_amount < 10000000000)
  )
)
execute function private.refuse_row(
  'sales_price_valid',
  'unit_price',
  'quantity, price and GST of a sale are 0 or more and below 10,000,000,000',
  'Write price and GST in rupees.',
  'quantity',
  'gst_amount'
);

create trigger refuse_parts_on_insert
before insert on public.invoice_metadata
for each row
when (
  not (
    new.subscription_amount >= 0
    and new.subscription_amount < 10000000000
    and new.subscription_amount = round(new.subscription_amount, 2)
  )
  or not (
    new.manual_sales_amount >= 0
    and new.manual_sales_amount < 10000000000
    and new.manual_sales_amount = round(new.manual_sales_amount, 2)
  )
)
execute function private.refuse_row(
  'invoice_metadata_parts_valid',
  'subscription_amount',
  'the parts of an invoice are 0 or more, below 10,000,000,000 and have at most two decimals',
  'Round the lines of the invoice to whole paise, then sum them.',
  'manual_sales_amount'
);

create trigger refuse_parts_on_update
before update of subscription_amount, manual_sales_amount on public.invoice_metadata
for each row
when (
  (
    new.subscription_amount is distinct from old.subscription_amount
    and not (
      new.subscription_amount >= 0
      and new.subscription_amount < 10000000000
      and new.subscription_amount = round(new.subscription_amount, 2)
    )
  )
  or (
    new.manual_sales_amount is distinct from old.manual_sales_amount
    and not (
      new.manual_sales_amount >= 0
      and new.manual_sales_amount < 10000000000
      and new.manual_sales_amount = round(new.manual_sales_amount, 2)
    )
  )
)
execute function private.refuse_row(
  'invoice_metadata_parts_valid',
  'subscription_amount',
  'the parts of an invoice are 0 or more, below 10,000,000,000 and have at most two decimals',
  'Round the lines of the invoice to whole paise, then sum them.',
  'manual_sales_amount'
);

create trigger refuse_gst_on_insert
before insert on public.invoice_metadata
for each row
when (
  not (new.gst_amount >= 0 and new.gst_amount < 10000000000)
)
execute function private.refuse_row(
  'invoice_metadata_gst_valid',
  'gst_amount',
  'the GST of an invoice is 0 or more and below 10,000,000,000',
  'Write the GST in rupees.'
);

create trigger refuse_gst_on_update
before update of gst_amount on public.invoice_metadata
for each row
when (
  (
    new.gst_amount is distinct from old.gst_amount
    and not (new.gst_amount >= 0 and new.gst_amount < 10000000000)
  )
)
execute function private.refuse_row(
  'invoice_metadata_gst_valid',
  'gst_amount',
  'the GST of an invoice is 0 or more and below 10,000,000,000',
  'Write the GST in rupees.'
);

create trigger refuse_total_on_insert
before insert on public.invoice_line_items
for each row
when (
  not (
    (new.line_total >= 0 or new.line_item_type is not distinct from 'adjustment')
    and new.line_total > -10000000000
    and new.line_total < 10000000000
    and new.line_total = round(new.line_total, 2)
  )
)
execute function private.refuse_row(
  'invoice_line_items_total_valid',
  'line_total',
  'a line has at most two decimals, is below 10,000,000,000, and negative as an adjustment alone',
  'Round the total of the line to whole paise.'
);

create trigger refuse_total_on_update
before update on public.invoice_line_items
for each row
when (
  (
    (
      new.line_total is distinct from old.line_total
      or new.line_item_type is distinct from old.line_item_type
    )
    and not (
      (new.line_total >= 0 or new.line_item_type is not distinct from 'adjustment')
      and new.line_total > -10000000000
      and new.line_total < 10000000000
      and new.line_total = round(new.line_total, 2)
    )
  )
)
execute function private.refuse_row(
  'invoice_line_items_total_valid',
  'line_total',
  'a line has at most two decimals, is below 10,000,000,000, and negative as an adjustment alone',
  'Round the total of the line to whole paise.'
);

create trigger refuse_price_on_insert
before insert on public.invoice_line_items
for each row
when (
  not (
    (new.unit_price >= 0 or new.line_item_type is not distinct from 'adjustment')
    and new.unit_price > -10000000000
    and new.unit_price < 10000000000
  )
  or not (
    (new.quantity >= 0 or new.line_item_type is not distinct from 'adjustment')
    and new.quantity > -10000000000
    and new.quantity < 10000000000
  )
  or not (
    (new.gst_amount >= 0 or new.line_item_type is not distinct from 'adjustment')
    and new.gst_amount > -10000000000
    and new.gst_amount < 10000000000
  )
  or not (new.gst_rate >= 0 and new.gst_rate <= 100)
)
execute function private.refuse_row(
  'invoice_line_items_price_valid',
  'unit_price',
  'a line names numbers below 10,000,000,000, and negative ones as an adjustment alone',
  'Write price and GST in rupees.',
  'quantity',
  'gst_amount',
  'gst_rate'
);

create trigger refuse_price_on_update
before update on public.invoice_line_items
for each row
when (
  (
    (
      new.unit_price is distinct from old.unit_price
      or new.line_item_type is distinct from old.line_item_type
    )
    and not (
      (new.unit_price >= 0 or new.line_item_type is not distinct from 'adjustment')
      and new.unit_price > -10000000000
      and new.unit_price < 10000000000
    )
  )
  or (
    (
      new.quantity is distinct from old.quantity
      or new.line_item_type is distinct from old.line_item_type
    )
    and not (
      (new.quantity >= 0 or new.line_item_type is not distinct from 'adjustment')
      and new.quantity > -10000000000
      and new.quantity < 10000000000
    )
  )
  or (
    (
      new.gst_amount is distinct from old.gst_amount
      or new.line_item_type is distinct from old.line_item_type
    )
    and not (
      (new.gst_amount >= 0 or new.line_item_type is not distinct from 'adjustment')
      and new.gst_amount > -10000000000
      and new.gst_amount < 10000000000
    )
  )
  or (
    new.gst_rate is distinct from old.gst_rate
    and not (new.gst_rate >= 0 and new.gst_rate <= 100)
  )
)
execute function private.refuse_row(
  'invoice_line_items_price_valid',
  'unit_price',
  'a line names numbers below 10,000,000,000, and negative ones as an adjustment alone',
  'Write price and GST in rupees.',
  'quantity',
  'gst_amount',
  'gst_rate'
);
