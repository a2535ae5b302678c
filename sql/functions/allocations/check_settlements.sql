-- Every broken invariant of settlements, one row each; a part of check_payment_invariants.
--
-- Locks: none. It reads one snapshot.

create or replace function private.check_settlements()
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
  with opening_paid as (
    select allocation.customer_id, sum(allocation.amount) as amount
    from public.opening_balance_payments as allocation
    group by allocation.customer_id
  ),

  customer_truth as (
    select
      customer.id,
      coalesce(customer.opening_balance, 0) as opening_balance,
      customer.opening_balance_paid,
      coalesce(opening_paid.amount, 0) as paid
    from public.customers as customer
    left join opening_paid on customer.id = opening_paid.customer_id
  ),

  sale_paid as (
    select allocation.sales_id, sum(allocation.amount_allocated) as amount
    from public.sales_payments as allocation
    group by allocation.sales_id
  ),

  bill as (
    select line.sale_id, bool_or(invoice.invoice_status = 'paid') as paid
    from public.invoice_line_items as line
    inner join public.invoice_metadata as invoice on line.invoice_id = invoice.id
    where line.sale_id is not null and invoice.invoice_status is distinct from 'cancelled'
    group by line.sale_id
  ),

  sale_truth as (
    select
      sale.*,
      coalesce(sale_paid.amount, 0) as paid,
      bill.sale_id is not null as billed,
      case
        when sale.sale_type <> 'Credit' then sale.payment_status
        when sale_paid.amount >= sale.total_amount or bill.paid then 'Completed'
        when bill.sale_id is not null then 'Billed'
        else sale.payment_status
      end as true_status
    from public.sales as sale
    left join sale_paid on sale.id = sale_paid.sales_id
    left join bill on sale.id = bill.sale_id
  )

  select
    'opening_balances_valid', 'customer', customer.id::text,
    '0 or more, below 10^10, at most two decimals', customer.opening_balance::text
  from customer_truth as customer
  where not (
    customer.opening_balance >= 0 and customer.opening_balance < 10000000000
    and customer.opening_balance = round(customer.opening_balance, 2)
  )
  union all
  select
    'opening_balances_within_balance', 'customer', customer.id::text,
    'at most ' || customer.opening_balance, customer.paid || ' paid'
  from customer_truth as customer
  where customer.paid > customer.opening_balance
  union all
  select
    'opening_balances_paid_true', 'customer', customer.id::text,
    customer.paid || ' paid', customer.opening_balance_paid || ' paid'
  from customer_truth as customer
  where customer.opening_balance_paid is distinct from customer.paid
  union all
  select
    'sale_totals_valid', 'sale', sale.id::text,
    'above 0, below 10^10, at most two decimals', sale.total_amount::text
  from sale_truth as sale
  where not (
    sale.total_amount > 0 and sale.total_amount < 10000000000
    and sale.total_amount = round(sale.total_amount, 2)
  )
  union all
  select
    'sales_paid_whole', 'sale', sale.id::text,
    'nothing, or ' || sale.total_amount, sale.paid || ' paid'
  from sale_truth as sale
  where sale.paid not in (0, sale.total_amount)
  union all
  select
    'sales_paid_true', 'sale', sale.id::text,
    concat_ws(', ', sale.paid || ' paid', sale.true_status),
    concat_ws(', ', sale.amount_paid || ' paid', sale.payment_status)
  from sale_truth as sale
  where sale.amount_paid is distinct from sale.paid
    or sale.payment_status is distinct from sale.true_status
  union all
  select
    'sales_paid_are_credit', 'sales_payment', allocation.id::text,
    'a Credit sale', 'a sale of type ' || sale.sale_type
  from public.sales_payments as allocation
  inner join public.sales as sale on allocation.sales_id = sale.id
  where sale.sale_type <> 'Credit'
  union all
  select
    'billed_sales_paid_through_invoice', 'sale', sale.id::text,
    'no payment of its own, since it is on an invoice', sale.paid || ' paid'
  from sale_truth as sale
  where sale.billed and sale.paid <> 0
  union all
  select
    'settlements_within_one_customer', 'opening_balance_payment', allocation.id::text,
    'payment and opening balance of one customer',
    'payment of ' || coalesce(payment.customer_id::text, 'nobody')
    || ', opening balance of ' || allocation.customer_id
  from public.opening_balance_payments as allocation
  inner join public.payments as payment on allocation.payment_id = payment.id
  where payment.customer_id is distinct from allocation.customer_id
  union all
  select
    'settlements_within_one_customer', 'sales_payment', allocation.id::text,
    'payment and sale of one customer',
    'payment of ' || coalesce(payment.customer_id::text, 'nobody')
    || ', sale of ' || coalesce(sale.customer_id::text, 'nobody')
  from public.sales_payments as allocation
  inner join public.payments as payment on allocation.payment_id = payment.id
  inner join public.sales as sale on allocation.sales_id = sale.id
  where payment.customer_id is distinct from sale.customer_id;
end;
$$;

comment on function private.check_settlements() is
'Every broken invariant of settlements as a row; none when all is well.';

revoke all on function private.check_settlements() from public, anon, authenticated, service_role;
