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
