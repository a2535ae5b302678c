-- Changes the amount of a payment and what it pays of invoices, both at once: the core under
-- update_payment_atomic, without keys and without jsonb.
--
-- p_amount: rupees, already checked; null keeps the amount.
-- p_invoice_ids, p_amounts: what the payment pays of invoices afterwards, already checked
-- (parse_allocations); null keeps what it pays. What it pays of the opening balance and of sales
-- stays, and counts.
--
-- Written in an order in which no rule is broken on the way: a larger amount first, then less on
-- invoices, a smaller amount, more on invoices.
-- Locks: the payment, then its invoices before and after by id, then their sales by id.

create or replace function private.change_payment(
  p_payment_id uuid,
  p_amount numeric,
  p_invoice_ids uuid[],
  p_amounts numeric[]
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew took half of a call's time
as $$
declare
  v_payment record;
  v_amount numeric;
  v_requested numeric;
  v_elsewhere numeric;
  v_available numeric;
  v_fault record;
begin
  -- lock
  select
    payment.customer_id,
    payment.amount,
    payment.amount_applied,
    payment.voided_at,
    payment.void_reason
  into v_payment
  from public.payments as payment
  where payment.id = p_payment_id
  for no key update;

  if not found then
    raise exception using
      errcode = 'PT404',
      message = 'payment_not_found',
      detail = jsonb_build_object('payment_id', p_payment_id)::text,
      hint = 'The payment does not exist or was deleted; reload it.';
  elsif v_payment.voided_at is not null then
    raise exception using
      errcode = 'PT409',
      message = 'payment_voided',
      detail = jsonb_build_object(
        'payment_id', p_payment_id,
        'voided_at', v_payment.voided_at,
        'void_reason', v_payment.void_reason
      )::text,
      hint = 'A voided payment stays as it was; record a new one for new money.';
  elsif v_payment.customer_id is null and cardinality(p_invoice_ids) > 0 then
    raise exception using
      errcode = 'PT422',
      message = 'payment_without_customer',
      detail = jsonb_build_object('payment_id', p_payment_id)::text,
      hint = 'Set the customer of the payment, then allocate it.';
  end if;

  perform private.hold_targets(p_payment_id, p_invoice_ids);

  -- check
  v_amount := coalesce(p_amount, v_payment.amount);

  select
    v_payment.amount_applied - case
      when p_invoice_ids is null then 0
      else coalesce(sum(allocation.amount_allocated), 0)
    end
  into v_elsewhere
  from public.invoice_payments as allocation
  where allocation.payment_id = p_payment_id;

  if v_amount < v_elsewhere and (p_amount is not null or p_invoice_ids is not null) then
    raise exception using
      errcode = 'PT409',
      message = 'amount_below_allocated',
      detail = jsonb_build_object(
        'payment_id', p_payment_id, 'requested', v_amount, 'allocated', v_elsewhere
      )::text,
      hint = 'Take allocations off first, or replace them in the same call.';
  end if;

  select sum(named.amount) into v_requested
  from unnest(p_amounts) as named (amount);

  -- in whole paise, and nothing at all where a legacy amount is not a sum of money
  v_available := case
    when v_amount < 10000000000 then trim_scale(trunc(v_amount - v_elsewhere, 2))
    else 0
  end;

  if v_requested > v_available then
    raise exception using
      errcode = 'PT409',
      message = 'allocation_exceeds_payment',
      detail = jsonb_build_object(
        'payment_id', p_payment_id,
        'requested', v_requested,
        'available', greatest(v_available, 0)
      )::text,
      hint = 'Allocate no more than the payment comes to.';
  end if;

  select line.* into v_fault
  from (
    select
      named.position,
      named.invoice_id,
      named.amount,
      held.room,
      case
        when invoice.id is null then 'invoice_not_found'
        when invoice.customer_id <> v_payment.customer_id then 'customer_mismatch'
        when invoice.invoice_status = 'cancelled' then 'invoice_cancelled'
        when named.amount > held.room then 'allocation_exceeds_invoice'
      end as reason
    from unnest(p_invoice_ids, p_amounts)
      with ordinality as named (invoice_id, amount, position)
    left join public.invoice_metadata as invoice on named.invoice_id = invoice.id
    left join public.invoice_payments as allocation
      on named.invoice_id = allocation.invoice_id and allocation.payment_id = p_payment_id
    cross join lateral (
      select case
        when invoice.total_amount < 10000000000
          then trim_scale(
            trunc(
              greatest(
                invoice.total_amount - invoice.amount_paid
                + coalesce(allocation.amount_allocated, 0),
                0
              ), 2
            )
          )
        else 0
      end as room
    ) as held
  ) as line
  where line.reason is not null
  order by line.reason = 'allocation_exceeds_invoice', line.position
  limit 1;

  if v_fault.reason = 'invoice_not_found' then
    raise exception using
      errcode = 'PT404',
      message = 'invoice_not_found',
      detail = jsonb_build_object('invoice_id', v_fault.invoice_id)::text,
      hint = 'The invoice does not exist or was deleted; reload the customer''s invoices.';
  elsif v_fault.reason = 'customer_mismatch' then
    raise exception using
      errcode = 'PT422',
      message = 'customer_mismatch',
      detail = jsonb_build_object(
        'payment_id', p_payment_id, 'invoice_id', v_fault.invoice_id
      )::text,
      hint = 'Allocate the payment to invoices of its own customer.';
  elsif v_fault.reason = 'invoice_cancelled' then
    raise exception using
      errcode = 'PT409',
      message = 'invoice_cancelled',
      detail = jsonb_build_object('invoice_id', v_fault.invoice_id)::text,
      hint = 'A cancelled invoice takes no money; reload the customer''s invoices.';
  elsif v_fault.reason = 'allocation_exceeds_invoice' then
    raise exception using
      errcode = 'PT409',
      message = 'allocation_exceeds_invoice',
      detail = jsonb_build_object(
        'invoice_id', v_fault.invoice_id,
        'requested', v_fault.amount,
        'available', v_fault.room
      )::text,
      hint = 'Allocate no more than is outstanding on the invoice but for this payment.';
  end if;

  -- write
  if v_amount > v_payment.amount then
    update public.payments as payment
    set amount = v_amount, updated_at = now()
    where payment.id = p_payment_id;
  end if;

  delete from public.invoice_payments as allocation
  where allocation.payment_id = p_payment_id
    and allocation.invoice_id <> all(p_invoice_ids);

  update public.invoice_payments as allocation
  set amount_allocated = named.amount, updated_at = now()
  from unnest(p_invoice_ids, p_amounts) as named (invoice_id, amount)
  where allocation.payment_id = p_payment_id
    and allocation.invoice_id = named.invoice_id
    and allocation.amount_allocated > named.amount;

  if v_amount < v_payment.amount then
    update public.payments as payment
    set amount = v_amount, updated_at = now()
    where payment.id = p_payment_id;
  end if;

  insert into public.invoice_payments as allocation (invoice_id, payment_id, amount_allocated)
  select named.invoice_id, p_payment_id, named.amount
  from unnest(p_invoice_ids, p_amounts) as named (invoice_id, amount)
  on conflict (invoice_id, payment_id) do update
  set amount_allocated = excluded.amount_allocated, updated_at = now()
  where allocation.amount_allocated < excluded.amount_allocated;
end;
$$;

comment on function private.change_payment(uuid, numeric, uuid[], numeric[]) is
'Changes the amount of a payment and what it pays of invoices: the core of update_payment_atomic.';

revoke all on function private.change_payment(uuid, numeric, uuid[], numeric[])
from public, anon, authenticated, service_role;
