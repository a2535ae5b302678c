-- Allocates what is left of a payment by itself. `opening_first`: what remains of the opening
-- balance, then the invoices; `oldest_first`: the invoices alone. Invoices by due date, invoice date
-- and number; drafts and cancelled ones are left out. An invoice without a due date is due at once.
--
-- Nothing left or nothing to pay is a success of 0.
-- With an idempotency key the same call gets its first answer again (see claim_request).
--
-- Refusals, raised so that nothing stays written:
--   PT400 payment_required, strategy_unknown, idempotency_key_invalid
--   PT404 payment_not_found
--   PT409 payment_voided, payment_moved, idempotency_key_reused, request_undone
--   PT422 payment_without_customer
--
-- Locks: the idempotency key, the customer (opening_first), the payment, its customer's unpaid
-- invoices by id.

create or replace function public.auto_allocate_payment(
  p_payment_id uuid,
  p_strategy text default 'opening_first',
  out success boolean,
  out allocated_amount numeric,
  out total_allocated numeric,
  out payment_amount numeric,
  out unapplied_amount numeric,
  out allocation_status text,
  out applied jsonb
)
returns record
language plpgsql
volatile
security definer -- counters, keys and the journal are written by the database alone
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew took half of a call's time
as $$
declare
  v_key text := private.idempotency_key();
  v_outer_call text := coalesce(current_setting('pymilk.call_id', true), ''); -- in its trigger
  v_strategy text := coalesce(p_strategy, 'opening_first');
  v_arguments jsonb;
  v_request record;
  v_customer_id uuid;
  v_remaining numeric;
  v_payment record;
  v_opening numeric;
  v_held uuid[];
  v_invoices record;
begin
  if p_payment_id is null then
    raise exception using
      errcode = 'PT400',
      message = 'payment_required',
      detail = jsonb_build_object('p_payment_id', null)::text,
      hint = 'Name the payment to allocate.';
  elsif v_strategy not in ('opening_first', 'oldest_first') then
    raise exception using
      errcode = 'PT400',
      message = 'strategy_unknown',
      detail = jsonb_build_object(
        'given', left(p_strategy, 200), 'known', array['opening_first', 'oldest_first']
      )::text,
      hint = 'Choose one of the known strategies, or leave it out.';
  end if;

  v_arguments := jsonb_build_object('payment_id', p_payment_id, 'strategy', v_strategy);

  -- lock
  select claimed.call_id, claimed.answer into v_request
  from private.claim_request('auto_allocate_payment', v_key, v_arguments) as claimed;

  if v_request.answer is not null then
    select first_answer.*
    into
      success, allocated_amount, total_allocated, payment_amount, unapplied_amount,
      allocation_status, applied
    from jsonb_to_record(v_request.answer) as first_answer (
      success boolean,
      allocated_amount numeric,
      total_allocated numeric,
      payment_amount numeric,
      unapplied_amount numeric,
      allocation_status text,
      applied jsonb
    );
    return;
  end if;

  if v_strategy = 'opening_first' then
    -- the customer goes before the payment; which one it is, the payment says
    select payment.customer_id into v_customer_id
    from public.payments as payment
    where payment.id = p_payment_id;

    select
      case
        when customer.opening_balance < 10000000000
          then trim_scale(
            trunc(greatest(customer.opening_balance - customer.opening_balance_paid, 0), 2)
          )
      end
    into v_remaining
    from public.customers as customer
    where customer.id = v_customer_id
    for no key update;
  end if;

  select held.customer_id, held.available into v_payment
  from private.hold_to_allocate(p_payment_id) as held;

  -- only what is held is paid: an invoice that came up meanwhile would be locked out of turn
  v_held := array(
    select invoice.id
    from public.invoice_metadata as invoice
    where invoice.customer_id = v_payment.customer_id
      and invoice.invoice_status not in ('draft', 'cancelled')
      and invoice.amount_outstanding > 0
    order by invoice.id
    for no key update
  );

  -- check
  if v_strategy = 'opening_first' and v_payment.customer_id is distinct from v_customer_id then
    raise exception using
      errcode = 'PT409',
      message = 'payment_moved',
      detail = jsonb_build_object('payment_id', p_payment_id)::text,
      hint = 'Somebody gave the payment to another customer at this moment; try again.';
  end if;

  v_opening := least(coalesce(v_remaining, 0), v_payment.available);

  with open as (
    select
      invoice.id,
      trim_scale(trunc(invoice.amount_outstanding, 2)) as room,
      row_number() over (
        order by
          coalesce(invoice.due_date, invoice.invoice_date), invoice.invoice_date,
          invoice.invoice_number, invoice.id
      ) as position
    from public.invoice_metadata as invoice
    where invoice.id = any(v_held)
      and invoice.customer_id = v_payment.customer_id
      and invoice.invoice_status not in ('draft', 'cancelled')
      and invoice.amount_outstanding > 0
      and invoice.total_amount < 10000000000
  ),

  line as (
    select
      open.id,
      open.position,
      least(
        open.room,
        v_payment.available - v_opening - coalesce(
          sum(open.room) over (
            order by open.position rows between unbounded preceding and 1 preceding
          ), 0
        )
      ) as amount
    from open
  )

  select
    array_agg(line.id order by line.position) as ids,
    array_agg(line.amount order by line.position) as amounts
  into v_invoices
  from line
  where line.amount > 0;

  -- write
  perform set_config('pymilk.call_id', v_request.call_id::text, true);

  if v_opening > 0 then
    perform private.allocate_to_opening_balance(p_payment_id, v_customer_id, v_opening);
  end if;

  if v_invoices.ids is not null then
    perform private.allocate_to_invoices(
      p_payment_id, v_invoices.ids, v_invoices.amounts, true
    );
  end if;

  perform set_config('pymilk.call_id', v_outer_call, true);

  -- return
  success := true;
  applied := private.describe_applied(v_opening, v_invoices.ids, v_invoices.amounts, null, null);

  select
    payment.amount_applied,
    payment.amount,
    payment.amount_unapplied,
    payment.allocation_status,
    v_opening + coalesce((select sum(paid.amount) from unnest(v_invoices.amounts) as paid (amount)), 0)
  into total_allocated, payment_amount, unapplied_amount, allocation_status, allocated_amount
  from public.payments as payment
  where payment.id = p_payment_id;

  perform private.finish_request(
    'auto_allocate_payment', v_key, v_arguments, v_request.call_id,
    jsonb_build_object(
      'success', success,
      'allocated_amount', allocated_amount,
      'total_allocated', total_allocated,
      'payment_amount', payment_amount,
      'unapplied_amount', unapplied_amount,
      'allocation_status', allocation_status,
      'applied', applied
    )
  );
end;
$$;

comment on function public.auto_allocate_payment(uuid, text) is
'Allocates what is left of a payment by itself.

p_strategy "opening_first" | "oldest_first": the opening balance first, or the oldest invoices
  alone
allocated_amount: by this call; 0 when there was nothing to pay
total_allocated: of the payment, by now
unapplied_amount: what is left of the payment
allocation_status payments.allocation_status
applied {"opening_balance": numeric, "invoices": [{"invoice_id": uuid, "applied": numeric}],
  "sales": [{"sale_id": uuid, "applied": numeric}]}
never null: all';

revoke all on function public.auto_allocate_payment(uuid, text)
from public, anon, authenticated, service_role;
grant execute on function public.auto_allocate_payment(uuid, text) to authenticated, service_role;
