-- Allocates a payment to invoices: the core under the RPCs, without keys and without jsonb.
--
-- With p_refuse_excess an amount that the payment or an invoice can't take refuses the whole call;
-- without, each line is cut, in the order given, to what both can take. Everything else is refused
-- either way. Topping up an invoice that the payment already touches adds to its row.
--
-- p_amounts: rupees, one for each invoice id, already checked (parse_allocations).
-- Returns what each line got, in the same order.
-- Locks: the payment, then the invoices by id, `for no key update`.

create or replace function private.allocate_to_invoices(
  p_payment_id uuid,
  p_invoice_ids uuid[],
  p_amounts numeric[],
  p_refuse_excess boolean
)
returns numeric[]
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_payment record;
  v_available numeric;
  v_requested numeric;
  v_faults text[];
  v_fault integer;
  v_rooms numeric[];
  v_applied numeric[];
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
      hint = 'A voided payment takes no allocation; record a new one for new money.';
  elsif v_payment.customer_id is null then
    raise exception using
      errcode = 'PT422',
      message = 'payment_without_customer',
      detail = jsonb_build_object('payment_id', p_payment_id)::text,
      hint = 'Set the customer of the payment, then allocate it.';
  end if;

  perform
  from public.invoice_metadata as invoice
  where invoice.id = any(p_invoice_ids)
  order by invoice.id
  for no key update;

  -- check
  -- in whole paise, and nothing at all where a legacy amount is not a sum of money
  v_available := case
    when v_payment.amount < 10000000000
      then trim_scale(trunc(greatest(v_payment.amount - v_payment.amount_applied, 0), 2))
    else 0
  end;

  with line as (
    select
      named.position,
      named.requested,
      case
        when invoice.id is null then 'invoice_not_found'
        when invoice.customer_id <> v_payment.customer_id then 'customer_mismatch'
        when invoice.invoice_status = 'cancelled' then 'invoice_cancelled'
      end as fault,
      case
        when invoice.total_amount < 10000000000
          then trim_scale(trunc(greatest(invoice.total_amount - invoice.amount_paid, 0), 2))
        else 0
      end as room
    from unnest(p_invoice_ids, p_amounts)
      with ordinality as named (invoice_id, requested, position)
    left join public.invoice_metadata as invoice on named.invoice_id = invoice.id
  ),

  cut as (
    select
      line.*,
      greatest(
        least(line.requested, line.room, v_available - coalesce(
          sum(least(line.requested, line.room)) over (
            order by line.position rows between unbounded preceding and 1 preceding
          ), 0
        )), 0
      ) as applied
    from line
  )

  select
    sum(cut.requested),
    array_agg(cut.fault order by cut.position),
    min(cut.position) filter (where cut.fault is not null),
    array_agg(cut.room order by cut.position),
    array_agg(cut.applied order by cut.position)
  into v_requested, v_faults, v_fault, v_rooms, v_applied
  from cut;

  if v_faults[v_fault] = 'invoice_not_found' then
    raise exception using
      errcode = 'PT404',
      message = 'invoice_not_found',
      detail = jsonb_build_object('invoice_id', p_invoice_ids[v_fault])::text,
      hint = 'The invoice does not exist or was deleted; reload the customer''s invoices.';
  elsif v_faults[v_fault] = 'customer_mismatch' then
    raise exception using
      errcode = 'PT422',
      message = 'customer_mismatch',
      detail = jsonb_build_object(
        'payment_id', p_payment_id, 'invoice_id', p_invoice_ids[v_fault]
      )::text,
      hint = 'Allocate the payment to invoices of its own customer.';
  elsif v_faults[v_fault] = 'invoice_cancelled' then
    raise exception using
      errcode = 'PT409',
      message = 'invoice_cancelled',
      detail = jsonb_build_object('invoice_id', p_invoice_ids[v_fault])::text,
      hint = 'A cancelled invoice takes no money; reload the customer''s invoices.';
  end if;

  if p_refuse_excess and v_requested > v_available then
    raise exception using
      errcode = 'PT409',
      message = 'allocation_exceeds_payment',
      detail = jsonb_build_object(
        'payment_id', p_payment_id, 'requested', v_requested, 'available', v_available
      )::text,
      hint = 'Allocate no more than what is left of the payment.';
  end if;

  select line.position into v_fault
  from unnest(p_amounts, v_rooms) with ordinality as line (requested, room, position)
  where p_refuse_excess and line.requested > line.room
  order by line.position
  limit 1;

  if found then
    raise exception using
      errcode = 'PT409',
      message = 'allocation_exceeds_invoice',
      detail = jsonb_build_object(
        'invoice_id', p_invoice_ids[v_fault],
        'requested', p_amounts[v_fault],
        'available', v_rooms[v_fault]
      )::text,
      hint = 'Allocate no more than what is outstanding on the invoice.';
  end if;

  -- write
  insert into public.invoice_payments as allocation (invoice_id, payment_id, amount_allocated)
  select line.invoice_id, p_payment_id, line.applied
  from unnest(p_invoice_ids, v_applied) as line (invoice_id, applied)
  where line.applied > 0
  on conflict (invoice_id, payment_id) do update
  set
    amount_allocated = allocation.amount_allocated + excluded.amount_allocated,
    updated_at = now();

  -- return
  return v_applied;
end;
$$;

comment on function private.allocate_to_invoices(uuid, uuid[], numeric[], boolean) is
'Allocates a payment to invoices: the core under the RPCs. Returns what each line got.';

revoke all on function private.allocate_to_invoices(uuid, uuid[], numeric[], boolean)
from public, anon, authenticated, service_role;
