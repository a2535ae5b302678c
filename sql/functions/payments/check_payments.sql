-- Every broken invariant of payments, one row each; a part of check_payment_invariants.
--
-- Locks: none. It reads one snapshot.

create or replace function private.check_payments()
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
  with allocation as (
    select 'invoice_payment' as entity, id, payment_id, invoice_id as target_id,
      amount_allocated as amount
    from public.invoice_payments
    union all
    select 'opening_balance_payment', id, payment_id, customer_id, amount
    from public.opening_balance_payments
    union all
    select 'sales_payment', id, payment_id, sales_id, amount_allocated
    from public.sales_payments
  ),

  applied as (
    select payment_id, sum(amount) as amount
    from allocation
    group by payment_id
  ),

  paid as (
    select
      allocation.invoice_id,
      sum(allocation.amount_allocated) as amount,
      max(payment.payment_date) as last_payment_date
    from public.invoice_payments as allocation
    left join public.payments as payment on allocation.payment_id = payment.id
    group by allocation.invoice_id
  ),

  payment_truth as (
    select
      payment.*,
      coalesce(applied.amount, 0) as allocated,
      case
        when payment.voided_at is not null then 0
        else payment.amount - coalesce(applied.amount, 0)
      end as true_rest,
      case
        when coalesce(applied.amount, 0) <= 0 then 'unapplied'
        when applied.amount < payment.amount then 'partially_applied'
        else 'fully_applied'
      end as true_status
    from public.payments as payment
    left join applied on payment.id = applied.payment_id
  ),

  invoice_truth as (
    select
      invoice.*,
      coalesce(paid.amount, 0) as allocated,
      paid.last_payment_date as true_date,
      case
        when coalesce(invoice.invoice_status, 'draft') in ('draft', 'cancelled')
          then invoice.invoice_status
        when coalesce(paid.amount, 0) >= invoice.total_amount then 'paid'
        when paid.amount > 0 then 'partially_paid'
        when invoice.invoice_status in ('sent', 'overdue') then invoice.invoice_status
        else 'sent'
      end as true_status
    from public.invoice_metadata as invoice
    left join paid on invoice.id = paid.invoice_id
  )

  select
    'payment_amounts_valid', 'payment', payment.id::text,
    'above 0, below 10^10, at most two decimals', payment.amount::text
  from public.payments as payment
  where not (
    payment.amount > 0 and payment.amount < 10000000000
    and payment.amount = round(payment.amount, 2)
  )
  union all
  select
    'invoice_totals_valid', 'invoice', invoice.id::text,
    '0 or more, below 10^10, at most two decimals', invoice.total_amount::text
  from public.invoice_metadata as invoice
  where not (
    invoice.total_amount >= 0 and invoice.total_amount < 10000000000
    and invoice.total_amount = round(invoice.total_amount, 2)
  )
  union all
  select
    'allocation_amounts_valid', allocation.entity, allocation.id::text,
    'above 0, below 10^10, at most two decimals', allocation.amount::text
  from allocation
  where not (
    allocation.amount > 0 and allocation.amount < 10000000000
    and allocation.amount = round(allocation.amount, 2)
  )
  union all
  select
    'allocations_two_sided', allocation.entity, allocation.id::text,
    'a payment and what it pays',
    case when allocation.payment_id is null then 'no payment' else 'nothing that it pays' end
  from allocation
  where allocation.payment_id is null or allocation.target_id is null
  union all
  select
    'payments_within_amount', 'payment', payment.id::text,
    'at most ' || payment.amount, payment.allocated || ' allocated'
  from payment_truth as payment
  where payment.allocated > payment.amount
  union all
  select
    'invoices_within_total', 'invoice', invoice.id::text,
    'at most ' || invoice.total_amount, invoice.allocated || ' allocated'
  from invoice_truth as invoice
  where invoice.allocated > invoice.total_amount
  union all
  select
    'payment_totals_true', 'payment', payment.id::text,
    concat_ws(
      ', ', payment.allocated || ' applied', payment.true_rest || ' unapplied',
      payment.true_status
    ),
    concat_ws(
      ', ', coalesce(payment.amount_applied::text, 'null') || ' applied',
      coalesce(payment.amount_unapplied::text, 'null') || ' unapplied',
      coalesce(payment.allocation_status, 'null')
    )
  from payment_truth as payment
  where payment.amount_applied is distinct from payment.allocated
    or payment.amount_unapplied is distinct from payment.true_rest
    or payment.allocation_status is distinct from payment.true_status
  union all
  select
    'invoice_totals_true', 'invoice', invoice.id::text,
    concat_ws(
      ', ', invoice.allocated || ' paid',
      invoice.total_amount - invoice.allocated || ' outstanding',
      coalesce(invoice.true_status, 'null'),
      'last ' || coalesce(invoice.true_date::text, 'never')
    ),
    concat_ws(
      ', ', coalesce(invoice.amount_paid::text, 'null') || ' paid',
      coalesce(invoice.amount_outstanding::text, 'null') || ' outstanding',
      coalesce(invoice.invoice_status, 'null'),
      'last ' || coalesce(invoice.last_payment_date::text, 'never')
    )
  from invoice_truth as invoice
  where invoice.amount_paid is distinct from invoice.allocated
    or invoice.amount_outstanding is distinct from invoice.total_amount - invoice.allocated
    or invoice.invoice_status is distinct from invoice.true_status
    or invoice.last_payment_date is distinct from invoice.true_date
  union all
  select
    'allocations_within_one_customer', 'invoice_payment', allocation.id::text,
    'payment and invoice of one customer',
    'payment of ' || coalesce(payment.customer_id::text, 'nobody')
    || ', invoice of ' || invoice.customer_id
  from public.invoice_payments as allocation
  inner join public.payments as payment on allocation.payment_id = payment.id
  inner join public.invoice_metadata as invoice on allocation.invoice_id = invoice.id
  where payment.customer_id is distinct from invoice.customer_id
  union all
  select
    'payments_allocated_have_customer', 'payment', payment.id::text,
    'a customer, or nothing allocated', payment.allocated || ' allocated'
  from payment_truth as payment
  where payment.customer_id is null and payment.allocated <> 0
  union all
  select
    'cancelled_invoices_hold_nothing', 'invoice', invoice.id::text,
    'nothing allocated', invoice.allocated || ' allocated'
  from invoice_truth as invoice
  where invoice.invoice_status = 'cancelled' and invoice.allocated <> 0
  union all
  select
    'voided_payments_hold_nothing', 'payment', payment.id::text,
    'nothing allocated', payment.allocated || ' allocated'
  from payment_truth as payment
  where payment.voided_at is not null and payment.allocated <> 0
  union all
  select
    'money_conserved', 'dairy', null,
    sum(payment.amount) || ' received',
    sum(payment.allocated) || ' allocated, '
    || coalesce(sum(payment.amount_unapplied), 0) || ' unapplied'
  from payment_truth as payment
  where payment.amount < 'Infinity' -- which NaN is not either
    and payment.voided_at is null
  having sum(payment.amount)
    is distinct from sum(payment.allocated) + sum(coalesce(payment.amount_unapplied, 0));
end;
$$;

comment on function private.check_payments() is
'Every broken invariant of payments as a row; none when all is well.';

revoke all on function private.check_payments() from public, anon, authenticated, service_role;
