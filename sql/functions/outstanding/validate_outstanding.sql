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
