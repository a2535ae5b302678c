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
  v_invoice record;
  v_faults text[];
  v_rooms numeric[];
  v_available numeric;
  v_left numeric;
  v_requested numeric := 0::numeric;
  v_beyond integer;
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

  for v_invoice in
    select
      line.place,
      invoice.customer_id,
      invoice.invoice_status,
      invoice.total_amount,
      invoice.amount_paid
    from unnest(p_invoice_ids) with ordinality as line (invoice_id, place)
    inner join public.invoice_metadata as invoice on line.invoice_id = invoice.id
    order by invoice.id
    for no key update of invoice
  loop
    v_faults[v_invoice.place] := case
      when v_invoice.customer_id <> v_payment.customer_id then 'customer_mismatch'
      when v_invoice.invoice_status = 'cancelled' then 'invoice_cancelled'
    end;
    -- in whole paise, and nothing at all where a legacy amount is not a sum of money
    v_rooms[v_invoice.place] := case
      when v_invoice.total_amount < 10000000000
        then trim_scale(trunc(greatest(v_invoice.total_amount - v_invoice.amount_paid, 0), 2))
      else 0
    end;
  end loop;

  -- check
  v_available := case
    when v_payment.amount < 10000000000
      then trim_scale(trunc(greatest(v_payment.amount - v_payment.amount_applied, 0), 2))
    else 0
  end;
  v_left := v_available;

  for v_line in 1..cardinality(p_invoice_ids) loop
    if v_rooms[v_line] is null then
      raise exception using
        errcode = 'PT404',
        message = 'invoice_not_found',
        detail = jsonb_build_object('invoice_id', p_invoice_ids[v_line])::text,
        hint = 'The invoice does not exist or was deleted; reload the customer''s invoices.';
    elsif v_faults[v_line] = 'customer_mismatch' then
      raise exception using
        errcode = 'PT422',
        message = 'customer_mismatch',
        detail = jsonb_build_object(
          'payment_id', p_payment_id, 'invoice_id', p_invoice_ids[v_line]
        )::text,
        hint = 'Allocate the payment to invoices of its own customer.';
    elsif v_faults[v_line] = 'invoice_cancelled' then
      raise exception using
        errcode = 'PT409',
        message = 'invoice_cancelled',
        detail = jsonb_build_object('invoice_id', p_invoice_ids[v_line])::text,
        hint = 'A cancelled invoice takes no money; reload the customer''s invoices.';
    end if;

    v_requested := v_requested + p_amounts[v_line];
    v_applied[v_line] := least(p_amounts[v_line], v_rooms[v_line], v_left);
    v_left := v_left - v_applied[v_line];

    if v_beyond is null and p_amounts[v_line] > v_rooms[v_line] then
      v_beyond := v_line;
    end if;
  end loop;

  if p_refuse_excess and v_requested > v_available then
    raise exception using
      errcode = 'PT409',
      message = 'allocation_exceeds_payment',
      detail = jsonb_build_object(
        'payment_id', p_payment_id, 'requested', v_requested, 'available', v_available
      )::text,
      hint = 'Allocate no more than what is left of the payment.';
  elsif p_refuse_excess and v_beyond is not null then
    raise exception using
      errcode = 'PT409',
      message = 'allocation_exceeds_invoice',
      detail = jsonb_build_object(
        'invoice_id', p_invoice_ids[v_beyond],
        'requested', p_amounts[v_beyond],
        'available', v_rooms[v_beyond]
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
