-- GAP-008: outstanding came from one unchecked function; an error read as zero debt.
--
-- After this file an unknown customer is refused instead of owing nothing, and what is owed is
-- computed in two independent ways that can be compared: from the counters that every write moves,
-- and from the rows, as of any day. docs/gaps/gap_008.md tells the whole story.
--
-- Locks: `create index` takes share on opening_balance_payments, so reads go on and writes to that
-- one table wait to the commit.

-- what the gap adds ------------------------------------------------------------------------------

-- A customer's payments of the opening balance were found by reading the whole table.
-- A migration is one transaction, in which nothing can be built concurrently; the table has at
-- most a few rows a customer.
-- squawk-ignore require-concurrent-index-creation
create index idx_opening_balance_payments_customer
on public.opening_balance_payments (customer_id);

select private.remember_privileges(
  '20250924000000_gap_008_outstanding',
  array['public.calculate_customer_outstanding(uuid)'::regprocedure]
);

-- functions, quoted from sql/functions ----------------------------------------------------------

-- >>> sql/functions/outstanding/calculate_customer_outstanding.sql sha256:90e48e254e816bde65705bb0e050fbd39d6bfdc4ce68f6fe5843f0f4a30c7db5
-- What a customer owes, from the counters that every write of money moves: opening balance less
-- what is paid of it, plus what is outstanding on live, issued invoices. Credit is not deducted:
-- outstanding_breakdown tells it apart. Dates play no part: what is booked counts.
--
-- Refusals: PT400 customer_required; PT404 customer_not_found, who once owed nothing.
-- Locks: none. It reads one snapshot.

create or replace function public.calculate_customer_outstanding(customer_uuid uuid)
returns numeric
language plpgsql
stable
security definer -- to whom row security hides invoices, the customer would seem to owe less
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning takes longer than looking
as $$
declare
  v_outstanding numeric;
begin
  -- check
  if customer_uuid is null then
    raise exception using
      errcode = 'PT400',
      message = 'customer_required',
      detail = jsonb_build_object('customer_id', null)::text,
      hint = 'Name the customer by id.';
  end if;

  select
    coalesce(customer.opening_balance, 0) - customer.opening_balance_paid + (
      select coalesce(sum(invoice.amount_outstanding), 0)
      from public.invoice_metadata as invoice
      where invoice.customer_id = customer.id
        and invoice.invoice_status in ('sent', 'paid', 'partially_paid', 'overdue')
        and invoice.deleted_at is null
    )
  into v_outstanding
  from public.customers as customer
  where customer.id = customer_uuid;

  if not found then
    raise exception using
      errcode = 'PT404',
      message = 'customer_not_found',
      detail = jsonb_build_object('customer_id', customer_uuid)::text,
      hint = 'The customer does not exist; reload the list of customers.';
  end if;

  -- return
  return v_outstanding;
end;
$$;

comment on function public.calculate_customer_outstanding(uuid) is
'What a customer owes in rupees, credit not deducted; an unknown customer is refused.

never null: returns';

revoke all on function public.calculate_customer_outstanding(uuid)
from public, anon, authenticated, service_role;
grant execute on function public.calculate_customer_outstanding(uuid)
to authenticated, service_role;
-- <<<

-- >>> sql/functions/outstanding/outstanding_breakdown.sql sha256:580adffd16f6e5df056e9599de27409963641445effcf6ef02aa1c17012ff7fe
-- What a customer owed at the end of a day and what it consists of, from the rows and not from the
-- counters: the second way of computing what calculate_customer_outstanding says.
--
-- As of a day: invoices by invoice_date, payments by payment_date, sales by sale_date. Money that a
-- payment of that day or before has since put on something later was credit on that day. Voided
-- payments and deleted, cancelled and draft invoices are out, whatever they were on the day.
--
-- p_as_of: null is the dairy's today.
-- ageing: what is outstanding on invoices, by days since they were due.
-- balance: the net amount as people read it, with 'Cr.' where the dairy owes the customer.
-- Refusals: PT400 customer_required, date_invalid; PT404 customer_not_found.
-- Locks: none. It reads one snapshot.

create or replace function public.outstanding_breakdown(
  p_customer_id uuid,
  p_as_of date default null,
  out customer_id uuid,
  out as_of date,
  out opening_balance numeric,
  out opening_balance_paid numeric,
  out opening_balance_remaining numeric,
  out invoices_issued bigint,
  out invoices_unpaid bigint,
  out invoices_outstanding numeric,
  out invoices_overdue bigint,
  out overdue numeric,
  out ageing jsonb,
  out outstanding numeric,
  out credit numeric,
  out net numeric,
  out balance text
)
language plpgsql
stable
security definer -- to whom row security hides rows, the customer would seem to owe less
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning takes longer than looking
as $$
begin
  -- check
  if p_customer_id is null then
    raise exception using
      errcode = 'PT400',
      message = 'customer_required',
      detail = jsonb_build_object('customer_id', null)::text,
      hint = 'Name the customer by id.';
  elsif p_as_of not between '1900-01-01' and '9999-12-31' then
    raise exception using
      errcode = 'PT400',
      message = 'date_invalid',
      detail = jsonb_build_object('as_of', p_as_of)::text,
      hint = 'Give a day between 1900 and 9999, or none for today.';
  end if;

  customer_id := p_customer_id;
  as_of := coalesce(p_as_of, public.business_today());

  select coalesce(customer.opening_balance, 0) into opening_balance
  from public.customers as customer
  where customer.id = p_customer_id;

  if not found then
    raise exception using
      errcode = 'PT404',
      message = 'customer_not_found',
      detail = jsonb_build_object('customer_id', p_customer_id)::text,
      hint = 'The customer does not exist; reload the list of customers.';
  end if;

  -- return
  select coalesce(sum(allocation.amount), 0) into opening_balance_paid
  from public.opening_balance_payments as allocation
  inner join public.payments as payment on allocation.payment_id = payment.id
  where allocation.customer_id = p_customer_id
    and payment.payment_date <= as_of
    and payment.voided_at is null;

  opening_balance_remaining := opening_balance - opening_balance_paid;

  -- materialized: else what is owed would be summed anew for each of the figures
  with invoice as materialized (
    select
      issued.due_date,
      issued.total_amount - (
        select coalesce(sum(allocation.amount_allocated), 0)
        from public.invoice_payments as allocation
        inner join public.payments as payment on allocation.payment_id = payment.id
        where allocation.invoice_id = issued.id
          and payment.payment_date <= as_of
          and payment.voided_at is null
      ) as owed
    from public.invoice_metadata as issued
    where issued.customer_id = p_customer_id
      and issued.invoice_date <= as_of
      and issued.invoice_status in ('sent', 'paid', 'partially_paid', 'overdue')
      and issued.deleted_at is null
  )

  select
    count(*),
    count(*) filter (where invoice.owed > 0),
    coalesce(sum(invoice.owed), 0),
    count(*) filter (where invoice.owed > 0 and invoice.due_date < as_of),
    coalesce(sum(invoice.owed) filter (where invoice.due_date < as_of), 0),
    jsonb_build_object(
      'not_due', coalesce(sum(invoice.owed) filter (
        where invoice.due_date >= as_of or invoice.due_date is null
      ), 0),
      'days_1_to_30', coalesce(sum(invoice.owed) filter (
        where invoice.due_date < as_of and invoice.due_date >= as_of - 30
      ), 0),
      'days_31_to_60', coalesce(sum(invoice.owed) filter (
        where invoice.due_date < as_of - 30 and invoice.due_date >= as_of - 60
      ), 0),
      'days_61_to_90', coalesce(sum(invoice.owed) filter (
        where invoice.due_date < as_of - 60 and invoice.due_date >= as_of - 90
      ), 0),
      'days_over_90', coalesce(sum(invoice.owed) filter (
        where invoice.due_date < as_of - 90
      ), 0)
    )
  into
    invoices_issued, invoices_unpaid, invoices_outstanding, invoices_overdue, overdue, ageing
  from invoice;

  select
    coalesce(sum(
      payment.amount - (
        select coalesce(sum(allocation.amount_allocated), 0)
        from public.invoice_payments as allocation
        inner join public.invoice_metadata as invoice on allocation.invoice_id = invoice.id
        where allocation.payment_id = payment.id and invoice.invoice_date <= as_of
      ) - (
        select coalesce(sum(allocation.amount), 0)
        from public.opening_balance_payments as allocation
        where allocation.payment_id = payment.id
      ) - (
        select coalesce(sum(allocation.amount_allocated), 0)
        from public.sales_payments as allocation
        inner join public.sales as sale on allocation.sales_id = sale.id
        where allocation.payment_id = payment.id and sale.sale_date <= as_of
      )
    ), 0)
  into credit
  from public.payments as payment
  where payment.customer_id = p_customer_id
    and payment.payment_date <= as_of
    and payment.voided_at is null;

  outstanding := opening_balance_remaining + invoices_outstanding;
  net := outstanding - credit;
  balance := case when net < 0 then round(-net, 2) || ' Cr.' else round(net, 2)::text end;
end;
$$;

comment on function public.outstanding_breakdown(uuid, date) is
'What a customer owed at the end of a day and what it consists of, from the rows.

p_as_of: null is the dairy''s today
overdue: what is outstanding on invoices past their due date
ageing {"not_due": numeric, "days_1_to_30": numeric, "days_31_to_60": numeric, "days_61_to_90":
  numeric, "days_over_90": numeric}: what is outstanding on invoices, by days since due
outstanding: opening balance and invoices together
credit: what is left of payments
net: outstanding less credit
balance: net as people read it, with Cr. where the dairy owes
never null: all';

revoke all on function public.outstanding_breakdown(uuid, date)
from public, anon, authenticated, service_role;
grant execute on function public.outstanding_breakdown(uuid, date) to authenticated, service_role;
-- <<<

-- >>> sql/functions/outstanding/validate_outstanding.sql sha256:6cb23e151b6399c5f170f99a9aeb43e1ce62ab87c4d28f118d50ecc5752445d9
-- Whether what a customer owes and has in credit comes out the same in two ways: from the counters
-- (what calculate_customer_outstanding says, and what the payments say is left of them) and from
-- the rows of invoices, payments and allocations. It reports and changes nothing.
--
-- differences: each figure that is not what its rows come to: entity, entity_id, figure, counted,
-- summed. The mirror in unapplied_payments is compared as well.
-- Refusals: PT400 customer_required; PT404 customer_not_found.
-- Locks: none. It reads one snapshot.

create or replace function public.validate_outstanding(
  p_customer_id uuid,
  out customer_id uuid,
  out valid boolean,
  out counted_outstanding numeric,
  out summed_outstanding numeric,
  out outstanding_difference numeric,
  out counted_credit numeric,
  out summed_credit numeric,
  out credit_difference numeric,
  out differences jsonb
)
language plpgsql
stable
security definer -- to whom row security hides rows, what is wrong would seem right
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning takes longer than looking
as $$
declare
  v_opening record;
begin
  -- check
  -- the figure that the app shows, and its refusals
  counted_outstanding := public.calculate_customer_outstanding(p_customer_id);

  -- return
  customer_id := p_customer_id;

  select
    coalesce(customer.opening_balance, 0) as amount,
    customer.opening_balance_paid as counted,
    (
      select coalesce(sum(allocation.amount), 0)
      from public.opening_balance_payments as allocation
      where allocation.customer_id = customer.id
    ) as summed
  into v_opening
  from public.customers as customer
  where customer.id = p_customer_id;

  differences := case
    when v_opening.counted is distinct from v_opening.summed then jsonb_build_array(
      jsonb_build_object(
        'entity', 'customer',
        'entity_id', p_customer_id,
        'figure', 'opening_balance_paid',
        'counted', v_opening.counted,
        'summed', v_opening.summed
      )
    )
    else '[]'
  end;

  with invoice as (
    select
      made.id,
      made.invoice_status in ('sent', 'paid', 'partially_paid', 'overdue')
      and made.deleted_at is null as issued,
      made.total_amount,
      made.amount_paid,
      made.amount_outstanding,
      (
        select coalesce(sum(allocation.amount_allocated), 0)
        from public.invoice_payments as allocation
        where allocation.invoice_id = made.id
      ) as paid
    from public.invoice_metadata as made
    where made.customer_id = p_customer_id
  ),

  compared as (
    select invoice.id, figure.name, figure.counted, figure.summed
    from invoice
    cross join lateral (
      values
      ('amount_paid', invoice.amount_paid, invoice.paid),
      ('amount_outstanding', invoice.amount_outstanding, invoice.total_amount - invoice.paid)
    ) as figure (name, counted, summed)
    where figure.counted is distinct from figure.summed
  )

  select
    v_opening.amount - v_opening.summed + (
      select coalesce(sum(invoice.total_amount - invoice.paid), 0)
      from invoice
      where invoice.issued
    ),
    differences || (
      select coalesce(jsonb_agg(jsonb_build_object(
        'entity', 'invoice',
        'entity_id', compared.id,
        'figure', compared.name,
        'counted', compared.counted,
        'summed', compared.summed
      ) order by compared.id, compared.name), '[]')
      from compared
    )
  into summed_outstanding, differences;

  with payment as (
    select
      made.id,
      made.amount_applied,
      made.amount_unapplied,
      (
        select coalesce(sum(mirror.amount_unapplied), 0)
        from public.unapplied_payments as mirror
        where mirror.payment_id = made.id
      ) as mirrored,
      case when made.voided_at is null then made.amount else 0 end as amount,
      (
        select coalesce(sum(allocation.amount_allocated), 0)
        from public.invoice_payments as allocation
        where allocation.payment_id = made.id
      ) + (
        select coalesce(sum(allocation.amount), 0)
        from public.opening_balance_payments as allocation
        where allocation.payment_id = made.id
      ) + (
        select coalesce(sum(allocation.amount_allocated), 0)
        from public.sales_payments as allocation
        where allocation.payment_id = made.id
      ) as applied
    from public.payments as made
    where made.customer_id = p_customer_id
  ),

  compared as (
    select payment.id, figure.name, figure.counted, figure.summed
    from payment
    cross join lateral (
      values
      ('amount_applied', payment.amount_applied, payment.applied),
      ('amount_unapplied', payment.amount_unapplied, payment.amount - payment.applied),
      ('unapplied_payments', payment.mirrored, greatest(payment.amount - payment.applied, 0))
    ) as figure (name, counted, summed)
    where figure.counted is distinct from figure.summed
  )

  select
    (select coalesce(sum(payment.amount_unapplied), 0) from payment),
    (select coalesce(sum(payment.amount - payment.applied), 0) from payment),
    differences || (
      select coalesce(jsonb_agg(jsonb_build_object(
        'entity', 'payment',
        'entity_id', compared.id,
        'figure', compared.name,
        'counted', compared.counted,
        'summed', compared.summed
      ) order by compared.id, compared.name), '[]')
      from compared
    )
  into counted_credit, summed_credit, differences;

  outstanding_difference := counted_outstanding - summed_outstanding;
  credit_difference := counted_credit - summed_credit;
  valid := differences = '[]'
    and outstanding_difference is not distinct from 0
    and credit_difference is not distinct from 0;
end;
$$;

comment on function public.validate_outstanding(uuid) is
'Whether what a customer owes comes out the same from the counters and from the rows.

differences [{"entity": text, "entity_id": uuid, "figure": text, "counted": numeric | null,
  "summed": numeric | null}]: each figure that isn''t what its rows come to
never null: all';

revoke all on function public.validate_outstanding(uuid)
from public, anon, authenticated, service_role;
grant execute on function public.validate_outstanding(uuid) to authenticated, service_role;
-- <<<
