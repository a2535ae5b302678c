-- Allocates a payment to Credit sales, each paid whole: the core under the RPCs.
--
-- A sale that stands on a live invoice is paid through the invoice alone: otherwise its customer
-- would pay it twice. It is not even locked: only who holds its invoice locks it, and so calls that
-- settle invoices never meet calls that settle sales.
--
-- p_amounts: rupees, one for each sale id, already checked (parse_sales); null is what remains.
-- Returns what each sale got, in the same order.
-- Locks: the payment, then the sales that are not billed by id, `for no key update`.

create or replace function private.allocate_to_sales(
  p_payment_id uuid,
  p_sale_ids uuid[],
  p_amounts numeric[]
)
returns numeric[]
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew took half of a call's time
as $$
declare
  v_payment record;
  v_billed uuid[];
  v_faults text[];
  v_fault integer;
  v_bills uuid[];
  v_rooms numeric[];
  v_requested numeric;
begin
  -- lock
  select held.customer_id, held.available into v_payment
  from private.hold_to_allocate(p_payment_id) as held;

  v_billed := array(
    select bill.sale_id
    from private.bills_of_sales(p_sale_ids) as bill
  );

  perform
  from public.sales as sale
  where sale.id = any(p_sale_ids) and sale.id <> all(v_billed)
  order by sale.id
  for no key update;

  -- check
  with line as (
    select
      named.position,
      named.requested,
      sale.id,
      sale.sale_type,
      sale.customer_id,
      sale.total_amount,
      sale.amount_paid,
      bill.invoice_id,
      trim_scale(sale.total_amount - sale.amount_paid) as room
    from unnest(p_sale_ids, p_amounts)
      with ordinality as named (sale_id, requested, position)
    left join public.sales as sale on named.sale_id = sale.id
    left join private.bills_of_sales(p_sale_ids) as bill on named.sale_id = bill.sale_id
  ),

  judged as (
    select
      line.*,
      case
        when line.id is null then 'sale_not_found'
        when line.sale_type <> 'Credit' then 'sale_not_payable'
        when line.customer_id <> v_payment.customer_id then 'customer_mismatch'
        when line.invoice_id is not null or line.id = any(v_billed) then 'sale_billed'
        when line.room <= 0 then 'sale_already_paid'
        when not (line.room < 10000000000 and scale(line.room) <= 2) then 'sale_not_payable'
        when line.requested <> line.room then 'sale_paid_whole'
      end as fault
    from line
  )

  select
    array_agg(judged.fault order by judged.position),
    min(judged.position) filter (where judged.fault is not null),
    array_agg(judged.invoice_id order by judged.position),
    array_agg(judged.room order by judged.position),
    sum(judged.room)
  into v_faults, v_fault, v_bills, v_rooms, v_requested
  from judged;

  if v_faults[v_fault] = 'sale_not_found' then
    raise exception using
      errcode = 'PT404',
      message = 'sale_not_found',
      detail = jsonb_build_object('sale_id', p_sale_ids[v_fault])::text,
      hint = 'The sale does not exist or was deleted; reload the customer''s sales.';
  elsif v_faults[v_fault] = 'sale_not_payable' then
    raise exception using
      errcode = 'PT422',
      message = 'sale_not_payable',
      detail = jsonb_build_object(
        'sale_id', p_sale_ids[v_fault], 'remaining', v_rooms[v_fault]
      )::text,
      hint = 'Only a Credit sale is paid by a payment; Cash and QR sales are paid at the counter.';
  elsif v_faults[v_fault] = 'customer_mismatch' then
    raise exception using
      errcode = 'PT422',
      message = 'customer_mismatch',
      detail = jsonb_build_object(
        'payment_id', p_payment_id, 'sale_id', p_sale_ids[v_fault]
      )::text,
      hint = 'Allocate the payment to sales of its own customer.';
  elsif v_faults[v_fault] = 'sale_billed' then
    raise exception using
      errcode = 'PT409',
      message = 'sale_billed',
      detail = jsonb_build_object(
        'sale_id', p_sale_ids[v_fault], 'invoice_id', v_bills[v_fault]
      )::text,
      hint = 'The sale stands on an invoice; allocate the payment to that invoice.';
  elsif v_faults[v_fault] = 'sale_already_paid' then
    raise exception using
      errcode = 'PT409',
      message = 'sale_already_paid',
      detail = jsonb_build_object('sale_id', p_sale_ids[v_fault])::text,
      hint = 'The sale is paid already; reload the customer''s sales.';
  elsif v_faults[v_fault] = 'sale_paid_whole' then
    raise exception using
      errcode = 'PT422',
      message = 'sale_paid_whole',
      detail = jsonb_build_object(
        'sale_id', p_sale_ids[v_fault],
        'requested', p_amounts[v_fault],
        'remaining', v_rooms[v_fault]
      )::text,
      hint = 'A sale is paid whole: send what remains of it, or leave the amount out.';
  elsif v_requested > v_payment.available then
    raise exception using
      errcode = 'PT409',
      message = 'allocation_exceeds_payment',
      detail = jsonb_build_object(
        'payment_id', p_payment_id, 'requested', v_requested, 'available', v_payment.available
      )::text,
      hint = 'Allocate no more than what is left of the payment.';
  end if;

  -- write
  insert into public.sales_payments as allocation (sales_id, payment_id, amount_allocated)
  select line.sale_id, p_payment_id, line.amount
  from unnest(p_sale_ids, v_rooms) as line (sale_id, amount)
  on conflict (sales_id, payment_id) do update
  set
    amount_allocated = allocation.amount_allocated + excluded.amount_allocated,
    updated_at = now();

  -- return
  return v_rooms;
end;
$$;

comment on function private.allocate_to_sales(uuid, uuid[], numeric[]) is
'Allocates a payment to Credit sales, each paid whole: the core. Returns what each got.';

revoke all on function private.allocate_to_sales(uuid, uuid[], numeric[])
from public, anon, authenticated, service_role;
