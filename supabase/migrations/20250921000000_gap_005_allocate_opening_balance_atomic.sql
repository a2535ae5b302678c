-- GAP-005: two callers both saw the same remaining opening balance and both paid it.
--
-- After this file the tables themselves hold that no opening balance and no sale is paid beyond what
-- it is, whoever writes: guarded counters (customers.opening_balance_paid, sales.amount_paid) that
-- only the triggers of opening_balance_payments and sales_payments move, and rules on what a row
-- may say. With it come the functions that pay: allocate_opening_balance_atomic,
-- allocate_payment_to_sales_atomic, auto_allocate_payment, and record_payment_atomic, which records
-- a payment with everything that it pays. docs/gaps/gap_005.md tells the whole story.
--
-- Locks: `add column` takes access exclusive on customers and sales, for no longer than the rest of
-- this file needs; the triggers take share row exclusive on opening_balance_payments,
-- sales_payments and invoice_line_items, where reads go on and writes wait. The counters are filled
-- under these locks.

-- what the gap adds ------------------------------------------------------------------------------

alter table public.customers add column opening_balance_paid numeric not null default 0;
alter table public.sales add column amount_paid numeric not null default 0;

comment on column public.customers.opening_balance_paid is
'Rupees, moved by the triggers of opening_balance_payments.';
comment on column public.sales.amount_paid is
'Rupees, moved by the triggers of sales_payments: nothing, or the whole of total_amount.';

-- Paying a sale asks whether it is billed. Some thousand lines are indexed in milliseconds;
-- `concurrently` would commit what came before.
-- squawk-ignore require-concurrent-index-creation
create index invoice_line_items_sale on public.invoice_line_items (sale_id)
where sale_id is not null;

create table private.settlement_journal (
  id bigint generated always as identity primary key,
  at timestamptz not null default now(),
  recorded_by text not null,
  call_id uuid,
  payment_id uuid not null,
  customer_id uuid,
  sale_id uuid,
  amount_change numeric not null check (amount_change <> 0),
  reason text,
  check (num_nonnulls(customer_id, sale_id) = 1)
);

comment on table private.settlement_journal is
'Every change of opening_balance_payments (customer_id) and sales_payments (sale_id), appended.';
comment on column private.settlement_journal.call_id is
'The RPC call that made the change, or that it took back; null for a direct write.';
comment on column private.settlement_journal.amount_change is
'Rupees; negative when money came off.';

create index settlement_journal_payment on private.settlement_journal (payment_id);
create index settlement_journal_call on private.settlement_journal (call_id)
where call_id is not null;

create table private.sale_status_corrections (
  sale_id uuid primary key,
  was text not null,
  corrected_to text not null,
  corrected_at timestamptz not null default now()
);

comment on table private.sale_status_corrections is
'Statuses of Credit sales that were wrong when gap 005 came, and what they were corrected to.';

alter table private.settlement_journal enable row level security;
alter table private.sale_status_corrections enable row level security;

revoke all on private.settlement_journal, private.sale_status_corrections
from public, anon, authenticated, service_role;
revoke all on sequence private.settlement_journal_id_seq
from public, anon, authenticated, service_role;

-- functions, quoted from sql/functions ----------------------------------------------------------

-- >>> sql/functions/allocations/allocate_to_opening_balance.sql sha256:ac58e0f4b15db77d4a1cdc7f829df0fe68c0a94d88fe4da97808df881b3d24f0
-- Allocates a payment to its customer's opening balance: the core under the RPCs. Paying more of
-- it with the same payment adds to the row of the two.
--
-- p_amount: rupees, already checked. Returns what then remains of the opening balance.
-- Locks: the customer, then the payment, `for no key update`.

create or replace function private.allocate_to_opening_balance(
  p_payment_id uuid,
  p_customer_id uuid,
  p_amount numeric
)
returns numeric
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_remaining numeric;
  v_payment record;
begin
  -- lock
  select
    -- in whole paise, and nothing at all where a legacy balance is not a sum of money
    case
      when customer.opening_balance < 10000000000
        then trim_scale(
          trunc(greatest(customer.opening_balance - customer.opening_balance_paid, 0), 2)
        )
      else 0
    end
  into v_remaining
  from public.customers as customer
  where customer.id = p_customer_id
  for no key update;

  if not found then
    raise exception using
      errcode = 'PT404',
      message = 'customer_not_found',
      detail = jsonb_build_object('customer_id', p_customer_id)::text,
      hint = 'The customer does not exist or was deleted; reload the list of customers.';
  end if;

  select held.customer_id, held.available into v_payment
  from private.hold_to_allocate(p_payment_id) as held;

  -- check
  if v_payment.customer_id <> p_customer_id then
    raise exception using
      errcode = 'PT422',
      message = 'customer_mismatch',
      detail = jsonb_build_object(
        'payment_id', p_payment_id, 'customer_id', p_customer_id
      )::text,
      hint = 'A payment pays the opening balance of its own customer.';
  elsif p_amount > v_payment.available then
    raise exception using
      errcode = 'PT409',
      message = 'allocation_exceeds_payment',
      detail = jsonb_build_object(
        'payment_id', p_payment_id, 'requested', p_amount, 'available', v_payment.available
      )::text,
      hint = 'Allocate no more than what is left of the payment.';
  elsif p_amount > v_remaining then
    raise exception using
      errcode = 'PT409',
      message = 'allocation_exceeds_opening_balance',
      detail = jsonb_build_object(
        'customer_id', p_customer_id, 'requested', p_amount, 'available', v_remaining
      )::text,
      hint = 'Allocate no more than what remains of the opening balance.';
  end if;

  -- write
  insert into public.opening_balance_payments as allocation (customer_id, payment_id, amount)
  values (p_customer_id, p_payment_id, p_amount)
  on conflict (payment_id, customer_id) do update
  set
    amount = allocation.amount + excluded.amount,
    updated_at = now();

  -- return
  return v_remaining - p_amount;
end;
$$;

comment on function private.allocate_to_opening_balance(uuid, uuid, numeric) is
'Allocates a payment to its customer''s opening balance: the core. Returns what remains of it.';

revoke all on function private.allocate_to_opening_balance(uuid, uuid, numeric)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/allocations/allocate_to_sales.sql sha256:073307bb0747d2fbfc984630c89bf740794a2b2223c25f4aae89f4cc0af41919
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
-- <<<

-- >>> sql/functions/allocations/check_settlements.sql sha256:a510caeca7019bac6a5f50e9c98ca4a6405a5abbcadc79c23bbaf8174b9f364c
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
-- <<<

-- >>> sql/functions/allocations/count_opening_balance_payments.sql sha256:61dbe4a108e121dd0298498a5605a5715222cfb97c8e66aaf76b409500695cb3
-- After any change of opening_balance_payments, by an RPC or directly: moves the counters of both
-- sides and writes the change into the journal.
--
-- A row that says it was made earlier than now comes from a `--data-only` restore: it counts, but
-- what the journal says of it is restored by itself. The roles of the API restore nothing: when
-- their row was made is not their word, and it is entered like any other.
--
-- Locks: customers by id, then payments by id, `for no key update`.

create or replace function private.count_opening_balance_payments()
returns trigger
language plpgsql
security definer -- an invoker's update that row security filters would count nothing, silently
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew took half of a call's time
as $$
declare
  v_payment_ids uuid[];
  v_customer_ids uuid[];
  v_changes numeric[];
  v_restored boolean[];
begin
  if tg_op = 'INSERT' then
    select
      array_agg(added.payment_id),
      array_agg(added.customer_id),
      array_agg(added.amount),
      array_agg(added.created_at is distinct from now())
    into v_payment_ids, v_customer_ids, v_changes, v_restored
    from new_rows as added;
  elsif tg_op = 'DELETE' then
    select
      array_agg(gone.payment_id),
      array_agg(gone.customer_id),
      array_agg(-gone.amount)
    into v_payment_ids, v_customer_ids, v_changes
    from old_rows as gone;
  else
    select array_agg(net.payment_id), array_agg(net.customer_id), array_agg(net.amount)
    into v_payment_ids, v_customer_ids, v_changes
    from (
      select change.payment_id, change.customer_id, sum(change.amount) as amount
      from (
        select added.payment_id, added.customer_id, added.amount
        from new_rows as added
        union all
        select gone.payment_id, gone.customer_id, -gone.amount
        from old_rows as gone
      ) as change
      group by change.payment_id, change.customer_id
      having sum(change.amount) <> 0
    ) as net;
  end if;

  if v_changes is null then
    return null;
  end if;

  if true = any(v_restored) then
    if current_setting('role', true) in ('anon', 'authenticated', 'service_role') then
      v_restored := null;

      update public.opening_balance_payments as allocation
      set created_at = now()
      from new_rows as added
      where allocation.id = added.id and added.created_at is distinct from now();
    end if;
  end if;

  -- lock
  perform
  from public.customers as customer
  where customer.id = any(v_customer_ids)
  order by customer.id
  for no key update;

  -- check and write: first the payments, then the customers
  perform private.move_amount_applied(v_payment_ids, v_changes);
  perform private.move_opening_balance_paid(v_payment_ids, v_customer_ids, v_changes);

  insert into private.settlement_journal (
    recorded_by, call_id, payment_id, customer_id, amount_change, reason
  )
  select
    private.caller(),
    nullif(current_setting('pymilk.call_id', true), '')::uuid,
    change.payment_id,
    change.customer_id,
    change.amount,
    nullif(current_setting('pymilk.reason', true), '')
  from unnest(v_payment_ids, v_customer_ids, v_changes, v_restored)
    as change (payment_id, customer_id, amount, restored)
  where change.payment_id is not null
    and change.customer_id is not null
    and change.restored is not true;

  return null;
end;
$$;

comment on function private.count_opening_balance_payments() is
'Trigger: moves the counters of payments and customers by what changed in '
'opening_balance_payments.';

revoke all on function private.count_opening_balance_payments()
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/allocations/count_sales_payments.sql sha256:3158a3eb9b234b010cb8d6a191b828f7d9ba1275cacdebd3dfe2b4876fea1e41
-- After any change of sales_payments, by an RPC or directly: moves the counters of both sides and
-- writes the change into the journal.
--
-- A row that says it was made earlier than now comes from a `--data-only` restore: it counts, but
-- what the journal says of it is restored by itself. The roles of the API restore nothing: when
-- their row was made is not their word, and it is entered like any other.
--
-- Locks: payments by id, then sales by id, `for no key update`.

create or replace function private.count_sales_payments()
returns trigger
language plpgsql
security definer -- an invoker's update that row security filters would count nothing, silently
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew took half of a call's time
as $$
declare
  v_payment_ids uuid[];
  v_sale_ids uuid[];
  v_changes numeric[];
  v_restored boolean[];
begin
  if tg_op = 'INSERT' then
    select
      array_agg(added.payment_id),
      array_agg(added.sales_id),
      array_agg(added.amount_allocated),
      array_agg(added.created_at is distinct from now())
    into v_payment_ids, v_sale_ids, v_changes, v_restored
    from new_rows as added;
  elsif tg_op = 'DELETE' then
    select
      array_agg(gone.payment_id),
      array_agg(gone.sales_id),
      array_agg(-gone.amount_allocated)
    into v_payment_ids, v_sale_ids, v_changes
    from old_rows as gone;
  else
    select array_agg(net.payment_id), array_agg(net.sale_id), array_agg(net.amount)
    into v_payment_ids, v_sale_ids, v_changes
    from (
      select change.payment_id, change.sale_id, sum(change.amount) as amount
      from (
        select added.payment_id, added.sales_id as sale_id, added.amount_allocated as amount
        from new_rows as added
        union all
        select gone.payment_id, gone.sales_id, -gone.amount_allocated
        from old_rows as gone
      ) as change
      group by change.payment_id, change.sale_id
      having sum(change.amount) <> 0
    ) as net;
  end if;

  if v_changes is null then
    return null;
  end if;

  if true = any(v_restored) then
    if current_setting('role', true) in ('anon', 'authenticated', 'service_role') then
      v_restored := null;

      update public.sales_payments as allocation
      set created_at = now()
      from new_rows as added
      where allocation.id = added.id and added.created_at is distinct from now();
    end if;
  end if;

  -- lock, check, write: first the payments, then the sales
  perform private.move_amount_applied(v_payment_ids, v_changes);
  perform private.move_sale_paid(v_payment_ids, v_sale_ids, v_changes, tg_op <> 'DELETE');

  insert into private.settlement_journal (
    recorded_by, call_id, payment_id, sale_id, amount_change, reason
  )
  select
    private.caller(),
    nullif(current_setting('pymilk.call_id', true), '')::uuid,
    change.payment_id,
    change.sale_id,
    change.amount,
    nullif(current_setting('pymilk.reason', true), '')
  from unnest(v_payment_ids, v_sale_ids, v_changes, v_restored)
    as change (payment_id, sale_id, amount, restored)
  where change.payment_id is not null
    and change.sale_id is not null
    and change.restored is not true;

  return null;
end;
$$;

comment on function private.count_sales_payments() is
'Trigger: moves the counters of payments and sales by what changed in sales_payments.';

revoke all on function private.count_sales_payments()
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/allocations/hold_to_allocate.sql sha256:04ff0d5e2d41dd2331bddbf46a3ffc08e3a311cf31e40ce2f668a3bbd128faf2
-- Locks a payment that is about to be allocated, and says whose it is and how much is left of it.
-- Refuses a payment that can't be allocated at all.
--
-- available: in whole paise, and nothing at all where a legacy amount is not a sum of money.
-- Locks: the payment, `for no key update`; its customer, where one is needed, goes before.

create or replace function private.hold_to_allocate(
  p_payment_id uuid,
  out customer_id uuid,
  out available numeric
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_voided_at timestamptz;
begin
  -- lock
  select
    payment.customer_id,
    case
      when payment.amount < 10000000000
        then trim_scale(trunc(greatest(payment.amount - payment.amount_applied, 0), 2))
      else 0
    end,
    payment.voided_at
  into customer_id, available, v_voided_at
  from public.payments as payment
  where payment.id = p_payment_id
  for no key update;

  -- check
  if not found then
    raise exception using
      errcode = 'PT404',
      message = 'payment_not_found',
      detail = jsonb_build_object('payment_id', p_payment_id)::text,
      hint = 'The payment does not exist or was deleted; reload it.';
  elsif v_voided_at is not null then
    raise exception using
      errcode = 'PT409',
      message = 'payment_voided',
      detail = jsonb_build_object('payment_id', p_payment_id, 'voided_at', v_voided_at)::text,
      hint = 'A voided payment takes no allocation; record a new payment.';
  elsif customer_id is null then
    raise exception using
      errcode = 'PT422',
      message = 'payment_without_customer',
      detail = jsonb_build_object('payment_id', p_payment_id)::text,
      hint = 'Set the customer of the payment, then allocate it.';
  end if;
end;
$$;

comment on function private.hold_to_allocate(uuid) is
'Locks a payment that is about to be allocated: whose it is and what is left of it.';

revoke all on function private.hold_to_allocate(uuid)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/allocations/lock_customer_and_payment.sql sha256:8738d927214a6bd79c3df1169a420cfc3744768fb7243c5beac03f8f16e3e4e8
-- Locks the customer, then the payment, before a row of opening_balance_payments is written.
--
-- Without it a direct insert would take the unique key of (payment, customer) first and then wait
-- for the two, while an RPC holds them and waits for the key: a deadlock. The RPCs hold both
-- already, so the trigger's WHEN clause spares them the call.
--
-- Locks: the customer, then the payment, `for no key update`.

create or replace function private.lock_customer_and_payment()
returns trigger
language plpgsql
security definer -- an invoker whom row security filters would lock nothing, silently
set search_path = pg_catalog, pg_temp
as $$
begin
  perform
  from public.customers as customer
  where customer.id = new.customer_id
  for no key update;

  perform
  from public.payments as payment
  where payment.id = new.payment_id
  for no key update;

  return new;
end;
$$;

comment on function private.lock_customer_and_payment() is
'Trigger: locks customer and payment before a row of opening_balance_payments is written.';

revoke all on function private.lock_customer_and_payment()
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/allocations/move_opening_balance_paid.sql sha256:1753a18153df908ebbcd4803402d4030451242fc91d287f967e8ffcb83b47c40
-- Moves the guarded counter customers.opening_balance_paid by what changed in
-- opening_balance_payments.
--
-- Checks what spans rows while both sides are locked: more of it is paid only by the customer's own
-- payments. 0 <= opening_balance_paid <= opening_balance is a rule of the table (see refuse_row).
--
-- p_changes: rupees, one for each pair of payment and customer, negative when money comes off.
-- Locks: none of its own; count_opening_balance_payments holds the customers and the payments.

create or replace function private.move_opening_balance_paid(
  p_payment_ids uuid[],
  p_customer_ids uuid[],
  p_changes numeric[]
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_offence record;
begin
  -- check
  select change.payment_id, change.customer_id into v_offence
  from unnest(p_payment_ids, p_customer_ids, p_changes) as change (
    payment_id, customer_id, amount
  )
  inner join public.payments as payment on change.payment_id = payment.id
  where change.amount > 0 and payment.customer_id is distinct from change.customer_id
  limit 1;

  if found then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'opening_balance_payments',
      constraint = 'opening_balance_payments_same_customer',
      column = 'customer_id',
      message = 'the payment and the opening balance belong to different customers',
      detail = jsonb_build_object(
        'payment_id', v_offence.payment_id, 'customer_id', v_offence.customer_id
      )::text,
      hint = 'A payment pays the opening balance of its own customer.';
  end if;

  -- write
  update public.customers as customer
  set
    opening_balance_paid = customer.opening_balance_paid + moved.amount,
    -- the app's own statements set it themselves; a restore keeps what was
    updated_at = case
      when current_setting('pymilk.call_id', true) <> '' then now()
      else customer.updated_at
    end
  from (
    select change.customer_id, sum(change.amount) as amount
    from unnest(p_customer_ids, p_changes) as change (customer_id, amount)
    group by change.customer_id
    having sum(change.amount) <> 0
  ) as moved
  where customer.id = moved.customer_id;
end;
$$;

comment on function private.move_opening_balance_paid(uuid[], uuid[], numeric[]) is
'Moves customers.opening_balance_paid by what changed in opening_balance_payments.';

revoke all on function private.move_opening_balance_paid(uuid[], uuid[], numeric[])
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/allocations/move_sale_paid.sql sha256:f20a2a909f7c036c9e0220969428731195628ed2b2f6d0153d55af122ae8767e
-- Moves the guarded counter sales.amount_paid by what changed in sales_payments, and with it the
-- status of the sale.
--
-- Checks what spans rows while both sides are locked: money goes to Credit sales of the payment's
-- own customer, to those that stand on no live invoice, and pays each whole and by one payment.
-- 0 <= amount_paid <= total_amount is a rule of the table (see refuse_row). Taking money off is
-- never refused: of a sale that two payments had paid before this gap, one may be voided.
--
-- p_changes: rupees, one for each pair of payment and sale, negative when money comes off.
-- p_whole: whether what is left has to be nothing or the whole; not so where rows were deleted.
-- Locks: sales by id, `for no key update`; the payments are held by move_amount_applied.

create or replace function private.move_sale_paid(
  p_payment_ids uuid[],
  p_sale_ids uuid[],
  p_changes numeric[],
  p_whole boolean
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_offence record;
begin
  -- lock
  perform
  from public.sales as sale
  where sale.id = any(p_sale_ids)
  order by sale.id
  for no key update;

  -- check
  with moved as (
    select
      change.sale_id,
      sum(change.amount) as amount,
      count(*) filter (where change.amount > 0) as payments,
      (array_agg(change.payment_id) filter (where change.amount > 0))[1] as payment_id
    from unnest(p_payment_ids, p_sale_ids, p_changes) as change (payment_id, sale_id, amount)
    group by change.sale_id
  )

  select
    judged.sale_id,
    judged.payment_id,
    judged.rule,
    case judged.rule
      when 'sales_payments_credit_only' then 'only a Credit sale is paid by a payment'
      when 'sales_payments_same_customer'
        then 'the payment and the sale belong to different customers'
      when 'sales_payments_unbilled' then 'a sale that is on an invoice is paid through it'
      else 'a sale is paid whole, by one payment'
    end as message,
    case judged.rule
      when 'sales_payments_credit_only' then 'Cash and QR sales are paid at the counter.'
      when 'sales_payments_same_customer' then 'Allocate the payment to a sale of its customer.'
      when 'sales_payments_unbilled' then 'Allocate the payment to the invoice.'
      else 'Allocate exactly what remains of the sale.'
    end as hint
  into v_offence
  from (
    select
      moved.sale_id,
      moved.payment_id,
      case
        when moved.payments > 0 and sale.sale_type <> 'Credit' then 'sales_payments_credit_only'
        when moved.payments > 0 and sale.customer_id is distinct from payment.customer_id
          then 'sales_payments_same_customer'
        when moved.payments > 0 and bill.sale_id is not null then 'sales_payments_unbilled'
        when
          moved.payments > 1
          or (moved.amount <> 0 and sale.amount_paid + moved.amount not in (0, sale.total_amount))
          then 'sales_payments_whole'
      end as rule
    from moved
    inner join public.sales as sale on moved.sale_id = sale.id
    left join public.payments as payment on moved.payment_id = payment.id
    left join private.bills_of_sales(p_sale_ids) as bill on moved.sale_id = bill.sale_id
    where p_whole
  ) as judged
  where judged.rule is not null
  order by judged.sale_id
  limit 1;

  if found then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'sales_payments',
      constraint = v_offence.rule,
      column = 'sales_id',
      message = v_offence.message,
      detail = jsonb_build_object(
        'sale_id', v_offence.sale_id, 'payment_id', v_offence.payment_id
      )::text,
      hint = v_offence.hint;
  end if;

  -- write
  update public.sales as sale
  set
    amount_paid = sale.amount_paid + moved.amount,
    payment_status = case
      when sale.sale_type <> 'Credit' then sale.payment_status
      when sale.amount_paid + moved.amount >= sale.total_amount then 'Completed'
      when bill.sale_id is null then 'Pending'
      when bill.paid then 'Completed'
      else 'Billed'
    end,
    -- the app's own statements set it themselves; a restore keeps what was
    updated_at = case
      when current_setting('pymilk.call_id', true) <> '' then now()
      else sale.updated_at
    end
  from (
    select change.sale_id, sum(change.amount) as amount
    from unnest(p_sale_ids, p_changes) as change (sale_id, amount)
    group by change.sale_id
    having sum(change.amount) <> 0
  ) as moved
  left join private.bills_of_sales(p_sale_ids) as bill on moved.sale_id = bill.sale_id
  where sale.id = moved.sale_id;
end;
$$;

comment on function private.move_sale_paid(uuid[], uuid[], numeric[], boolean) is
'Moves sales.amount_paid, and the status with it, by what changed in sales_payments.';

revoke all on function private.move_sale_paid(uuid[], uuid[], numeric[], boolean)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/allocations/parse_sales.sql sha256:30107bc649d9718ad04edde4689ecd12f40a993661852ccb09c9a1ede1afaae2
-- Unpacks a caller's list of sales, `[{"saleId": uuid}]`, into arrays.
--
-- `sale_id` is accepted too (both, when they say the same). A sale is paid whole, so its amount may
-- be left out (null in the array); where it is given it is checked like any other amount. Whatever
-- comes, a refusal has a reason: text is measured and matched before it is cast.
--
-- Locks: none.

create or replace function private.parse_sales(
  p_sales jsonb,
  out sale_ids uuid[],
  out amounts numeric[]
)
returns record
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_reasons text[];
  v_line integer;
  v_twice uuid;
begin
  -- check
  if p_sales is null or jsonb_typeof(p_sales) <> 'array' then
    raise exception using
      errcode = 'PT400',
      message = 'allocations_not_a_list',
      detail = jsonb_build_object('given', coalesce(jsonb_typeof(p_sales), 'null'))::text,
      hint = 'Send a list such as [{"saleId": "…"}].';
  elsif p_sales = '[]' then
    raise exception using
      errcode = 'PT400',
      message = 'allocations_empty',
      detail = jsonb_build_object('lines', 0)::text,
      hint = 'Name at least one sale.';
  end if;

  with line as (
    select
      element.position,
      nullif(element.value -> 'amount', 'null') as amount,
      coalesce(element.value ->> 'saleId', element.value ->> 'sale_id') as sale,
      coalesce(element.value ->> 'sale_id', element.value ->> 'saleId') as same_sale
    from jsonb_array_elements(p_sales) with ordinality as element (value, position)
  ),

  unpacked as (
    select
      line.position,
      line.amount,
      case
        when
          line.sale ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'
          and lower(line.sale) = lower(line.same_sale)
          then line.sale::uuid
      end as sale_id,
      case when line.amount is not null then private.money(line.amount) end as money
    from line
  ),

  judged as (
    select
      unpacked.*,
      case
        when unpacked.sale_id is null then 'sale_malformed'
        when unpacked.amount is not null and unpacked.money is null then 'amount_invalid'
      end as reason
    from unpacked
  )

  select
    array_agg(judged.sale_id order by judged.position),
    array_agg(judged.money order by judged.position),
    array_agg(judged.reason order by judged.position),
    min(judged.position) filter (where judged.reason is not null)
  into sale_ids, amounts, v_reasons, v_line
  from judged;

  if v_reasons[v_line] = 'sale_malformed' then
    raise exception using
      errcode = 'PT400',
      message = 'allocation_malformed',
      detail = jsonb_build_object(
        'line', v_line, 'given', left((p_sales -> (v_line - 1))::text, 200)
      )::text,
      hint = 'Each line names one sale (saleId, a uuid).';
  elsif v_reasons[v_line] = 'amount_invalid' then
    raise exception using
      errcode = 'PT400',
      message = 'amount_invalid',
      detail = jsonb_build_object(
        'line', v_line,
        'sale_id', sale_ids[v_line],
        'given', left((p_sales -> (v_line - 1) -> 'amount')::text, 200)
      )::text,
      hint = 'An amount is above 0, below 10,000,000,000 and has at most two decimals.';
  end if;

  select named.sale_id into v_twice
  from unnest(sale_ids) as named (sale_id)
  group by named.sale_id
  having count(*) > 1
  limit 1;

  if found then
    raise exception using
      errcode = 'PT422',
      message = 'sale_named_twice',
      detail = jsonb_build_object('sale_id', v_twice)::text,
      hint = 'Name each sale once; it is paid whole.';
  end if;
end;
$$;

comment on function private.parse_sales(jsonb) is
'Unpacks [{"saleId": uuid}] into arrays, amounts null where left out; refuses whatever else.';

revoke all on function private.parse_sales(jsonb) from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/allocations/undo_call.sql sha256:3c0ebed00fc7a5b24e117320d53c84f285c063bcf2edd7bb929dd6e68db4270f
-- Undoes what one call allocated of a payment (to its invoices, its customer's opening balance and
-- sales), or, without a call, what direct writes allocated in the last 15 minutes: the core under
-- rollback_partial_allocation.
--
-- Locks: the caller holds the payment, its customer, its invoices and sales.

create or replace function private.undo_call(
  p_payment_id uuid,
  p_call_id uuid,
  out affected_invoices integer,
  out removed_amount numeric
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- write
  select undone.affected_invoices, undone.removed_amount into affected_invoices, removed_amount
  from private.undo_invoice_payments(p_payment_id, p_call_id) as undone;

  removed_amount := removed_amount + private.undo_settlements(p_payment_id, p_call_id);
end;
$$;

comment on function private.undo_call(uuid, uuid) is
'Undoes what one call, or the direct writes of the last minutes, allocated of a payment.';

revoke all on function private.undo_call(uuid, uuid)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/allocations/undo_settlements.sql sha256:6e0fa7a74087b057ce642b9cca83451ca90ae9011fbbb2ceb817242d10251be3
-- Takes off the opening balance and the sales what one call put there, or, without a call, what
-- direct writes put there in the last 15 minutes; by the journal, and never more than is still there
-- of it. The same reckoning as undo_invoice_payments.
--
-- A pair's row may hold money of several calls and of direct writes. Its present life begins where
-- its journal last came to zero; what was taken off since is not known to belong to anybody, so what
-- the others put there stays in full, and only the rest of the row can come off.
--
-- Locks: the caller holds the customer, the payment and its sales.

create or replace function private.undo_settlements(
  p_payment_id uuid,
  p_call_id uuid,
  out removed_amount numeric
)
returns numeric
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids uuid[];
  v_amounts numeric[];
begin
  -- check
  with allocation as (
    select paid.id, paid.customer_id, null::uuid as sale_id, paid.amount as held, paid.created_at
    from public.opening_balance_payments as paid
    where paid.payment_id = p_payment_id
    union all
    select paid.id, null, paid.sales_id, paid.amount_allocated, paid.created_at
    from public.sales_payments as paid
    where paid.payment_id = p_payment_id
  ),

  entry as (
    select
      allocation.id as allocation_id,
      allocation.held,
      journal.id,
      journal.amount_change,
      case
        when p_call_id is not null then journal.call_id is not distinct from p_call_id
        else journal.call_id is null
          and journal.at > now() - interval '15 minutes'
          and allocation.created_at > now() - interval '15 minutes'
      end as named,
      journal.call_id,
      allocation.held - coalesce(
        sum(journal.amount_change) over (
          partition by allocation.id
          order by journal.id
          rows between 1 following and unbounded following
        ), 0
      ) as held_after
    from allocation
    inner join private.settlement_journal as journal
      on journal.payment_id = p_payment_id
      and (journal.customer_id = allocation.customer_id or journal.sale_id = allocation.sale_id)
    where allocation.held < 10000000000 -- which NaN is not
  ),

  life as (
    select
      entry.*,
      max(entry.id) filter (where entry.held_after <= 0)
        over (partition by entry.allocation_id) as ended
    from entry
  ),

  source as (
    select
      life.allocation_id,
      life.held,
      life.named,
      sum(life.amount_change) as amount
    from life
    where life.id > coalesce(life.ended, 0)
    group by life.allocation_id, life.held, life.named, life.call_id
  ),

  part as (
    select
      source.allocation_id,
      coalesce(sum(source.amount) filter (where source.named), 0) as named,
      source.held
      - greatest(source.held - sum(source.amount), 0) -- held before the journal began
      - coalesce(sum(source.amount) filter (where not source.named and source.amount > 0), 0)
        as rest
    from source
    group by source.allocation_id, source.held
  )

  select
    array_agg(part.allocation_id),
    array_agg(least(part.named, part.rest)),
    coalesce(sum(least(part.named, part.rest)), 0)
  into v_ids, v_amounts, removed_amount
  from part
  where least(part.named, part.rest) > 0;

  if v_ids is null then
    return;
  end if;

  -- write
  delete from public.opening_balance_payments as allocation
  using unnest(v_ids, v_amounts) as undone (id, amount)
  where allocation.id = undone.id and allocation.amount = undone.amount;

  update public.opening_balance_payments as allocation
  set amount = allocation.amount - undone.amount, updated_at = now()
  from unnest(v_ids, v_amounts) as undone (id, amount)
  where allocation.id = undone.id;

  delete from public.sales_payments as allocation
  using unnest(v_ids, v_amounts) as undone (id, amount)
  where allocation.id = undone.id and allocation.amount_allocated = undone.amount;

  update public.sales_payments as allocation
  set amount_allocated = allocation.amount_allocated - undone.amount, updated_at = now()
  from unnest(v_ids, v_amounts) as undone (id, amount)
  where allocation.id = undone.id;
end;
$$;

comment on function private.undo_settlements(uuid, uuid) is
'Takes off opening balance and sales what one call, or recent direct writes, put there.';

revoke all on function private.undo_settlements(uuid, uuid)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/customers/derive_opening_balance_paid.sql sha256:71a98f87fdb681bd39f0e80500961c3930b05c58b910665feda65b1cf45f9bd4
-- Puts the true opening_balance_paid into a customer that somebody inserts or updates: whatever the
-- caller says of it is neither an error nor believed.
--
-- The counter only moves inside the triggers of opening_balance_payments, which is why this one
-- runs at trigger depth 0 alone.
--
-- Locks: none but the row's own.

create or replace function private.derive_opening_balance_paid()
returns trigger
language plpgsql
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  new.opening_balance_paid := case when tg_op = 'UPDATE' then old.opening_balance_paid else 0 end;

  return new;
end;
$$;

comment on function private.derive_opening_balance_paid() is
'Trigger: puts the true opening_balance_paid.';

revoke all on function private.derive_opening_balance_paid()
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/allocate_opening_balance_atomic.sql sha256:5af3e019ebb55e8641f171d1fa86ae5fd8bc1bc84b2a9b1a7f1b739ee994b77b
-- Allocates a payment to its customer's opening balance in one step, both sides locked: of two
-- callers who see the same remaining balance, the second is refused what is no longer there.
--
-- With an idempotency key the same call gets its first answer again (see claim_request).
--
-- Refusals, raised so that nothing stays written:
--   PT400 payment_required, customer_required, amount_required, amount_invalid,
--         idempotency_key_invalid
--   PT404 payment_not_found, customer_not_found
--   PT409 allocation_exceeds_payment, allocation_exceeds_opening_balance, payment_voided,
--         idempotency_key_reused, request_undone
--   PT422 customer_mismatch, payment_without_customer
--
-- Locks: the idempotency key, the customer, the payment.

create or replace function public.allocate_opening_balance_atomic(
  p_payment_id uuid,
  p_customer_id uuid,
  p_amount numeric,
  out success boolean,
  out allocated_amount numeric,
  out total_allocated numeric,
  out payment_amount numeric,
  out unapplied_amount numeric,
  out allocation_status text,
  out opening_balance_remaining numeric
)
returns record
language plpgsql
volatile
security definer -- counters, keys and the journal are written by the database alone
set search_path = pg_catalog, pg_temp
as $$
declare
  v_key text := private.idempotency_key();
  v_outer_call text := coalesce(current_setting('pymilk.call_id', true), ''); -- in its trigger
  v_amount numeric := trim_scale(p_amount);
  v_arguments jsonb;
  v_request record;
begin
  if p_payment_id is null then
    raise exception using
      errcode = 'PT400',
      message = 'payment_required',
      detail = jsonb_build_object('p_payment_id', null)::text,
      hint = 'Name the payment to allocate.';
  elsif p_customer_id is null then
    raise exception using
      errcode = 'PT400',
      message = 'customer_required',
      detail = jsonb_build_object('p_customer_id', null)::text,
      hint = 'Name the customer whose opening balance is paid.';
  elsif v_amount is null then
    raise exception using
      errcode = 'PT400',
      message = 'amount_required',
      detail = jsonb_build_object('p_amount', null)::text,
      hint = 'Say how much of the payment goes to the opening balance.';
  elsif not (v_amount > 0 and v_amount < 10000000000 and scale(v_amount) <= 2) then
    raise exception using
      errcode = 'PT400',
      message = 'amount_invalid',
      detail = jsonb_build_object('given', left(p_amount::text, 200))::text,
      hint = 'An amount is above 0, below 10,000,000,000 and has at most two decimals.';
  end if;

  v_arguments := jsonb_build_object(
    'payment_id', p_payment_id, 'customer_id', p_customer_id, 'amount', v_amount
  );

  -- lock
  select claimed.call_id, claimed.answer into v_request
  from private.claim_request('allocate_opening_balance_atomic', v_key, v_arguments) as claimed;

  if v_request.answer is not null then
    select first_answer.*
    into
      success, allocated_amount, total_allocated, payment_amount, unapplied_amount,
      allocation_status, opening_balance_remaining
    from jsonb_to_record(v_request.answer) as first_answer (
      success boolean,
      allocated_amount numeric,
      total_allocated numeric,
      payment_amount numeric,
      unapplied_amount numeric,
      allocation_status text,
      opening_balance_remaining numeric
    );
    return;
  end if;

  -- check and write
  perform set_config('pymilk.call_id', v_request.call_id::text, true);

  opening_balance_remaining := private.allocate_to_opening_balance(
    p_payment_id, p_customer_id, v_amount
  );

  perform set_config('pymilk.call_id', v_outer_call, true);

  -- return
  success := true;
  allocated_amount := v_amount;

  select
    payment.amount_applied, payment.amount, payment.amount_unapplied, payment.allocation_status
  into total_allocated, payment_amount, unapplied_amount, allocation_status
  from public.payments as payment
  where payment.id = p_payment_id;

  perform private.finish_request(
    'allocate_opening_balance_atomic', v_key, v_arguments, v_request.call_id,
    jsonb_build_object(
      'success', success,
      'allocated_amount', allocated_amount,
      'total_allocated', total_allocated,
      'payment_amount', payment_amount,
      'unapplied_amount', unapplied_amount,
      'allocation_status', allocation_status,
      'opening_balance_remaining', opening_balance_remaining
    )
  );
end;
$$;

comment on function public.allocate_opening_balance_atomic(uuid, uuid, numeric) is
'Allocates a payment to its customer''s opening balance: never more than remains of either.

p_customer_id: whose opening balance; the payment must be theirs
allocated_amount: by this call
total_allocated: of the payment, by now
unapplied_amount: what is left of the payment
allocation_status payments.allocation_status
opening_balance_remaining: what the customer still owes of it
never null: all';

revoke all on function public.allocate_opening_balance_atomic(uuid, uuid, numeric)
from public, anon, authenticated, service_role;
grant execute on function public.allocate_opening_balance_atomic(uuid, uuid, numeric)
to authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/allocate_payment_to_sales_atomic.sql sha256:bdb038ccd2af2b3f65907866937f3bcaab3f575d396404ae167b32e95cf0260d
-- Allocates a payment to Credit sales in one step, all or none, each sale paid whole.
--
-- p_allocations: [{"saleId": uuid}]; an amount may be given and must then be what remains of it.
-- With an idempotency key the same call gets its first answer again (see claim_request).
--
-- Refusals, raised so that nothing stays written:
--   PT400 payment_required, allocations_not_a_list, allocations_empty, allocation_malformed,
--         amount_invalid, idempotency_key_invalid
--   PT404 payment_not_found, sale_not_found
--   PT409 allocation_exceeds_payment, sale_billed, sale_already_paid, payment_voided,
--         idempotency_key_reused, request_undone
--   PT422 sale_named_twice, sale_not_payable, sale_paid_whole, customer_mismatch,
--         payment_without_customer
--
-- Locks: the idempotency key, the payment, the sales by id.

create or replace function public.allocate_payment_to_sales_atomic(
  p_payment_id uuid,
  p_allocations jsonb,
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
  v_lines record;
  v_arguments jsonb;
  v_request record;
  v_applied numeric[];
begin
  if p_payment_id is null then
    raise exception using
      errcode = 'PT400',
      message = 'payment_required',
      detail = jsonb_build_object('p_payment_id', null)::text,
      hint = 'Name the payment to allocate.';
  end if;

  select parsed.sale_ids, parsed.amounts into v_lines
  from private.parse_sales(p_allocations) as parsed;

  v_arguments := jsonb_build_object(
    'payment_id', p_payment_id, 'sale_ids', v_lines.sale_ids, 'amounts', v_lines.amounts
  );

  -- lock
  select claimed.call_id, claimed.answer into v_request
  from private.claim_request('allocate_payment_to_sales_atomic', v_key, v_arguments) as claimed;

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

  -- check and write
  perform set_config('pymilk.call_id', v_request.call_id::text, true);

  v_applied := private.allocate_to_sales(p_payment_id, v_lines.sale_ids, v_lines.amounts);

  perform set_config('pymilk.call_id', v_outer_call, true);

  -- return
  success := true;

  select
    payment.amount_applied, payment.amount, payment.amount_unapplied, payment.allocation_status
  into total_allocated, payment_amount, unapplied_amount, allocation_status
  from public.payments as payment
  where payment.id = p_payment_id;

  select
    sum(line.applied),
    jsonb_agg(
      jsonb_build_object('sale_id', line.sale_id, 'applied', line.applied) order by line.position
    )
  into allocated_amount, applied
  from unnest(v_lines.sale_ids, v_applied)
    with ordinality as line (sale_id, applied, position);

  perform private.finish_request(
    'allocate_payment_to_sales_atomic', v_key, v_arguments, v_request.call_id,
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

comment on function public.allocate_payment_to_sales_atomic(uuid, jsonb) is
'Allocates a payment to Credit sales, each paid whole, all or none.

p_payment_id: the payment
p_allocations [{"sale_id": uuid, "amount"?: numeric}]: which sales; the amount only says it again
allocated_amount: by this call
total_allocated: of the payment, by now
unapplied_amount: what is left of the payment
allocation_status payments.allocation_status
applied [{"sale_id": uuid, "applied": numeric}]: in the order given
never null: all';

revoke all on function public.allocate_payment_to_sales_atomic(uuid, jsonb)
from public, anon, authenticated, service_role;
grant execute on function public.allocate_payment_to_sales_atomic(uuid, jsonb)
to authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/auto_allocate_payment.sql sha256:fb210b031815bc431e11dc33340f0442300be3a39a6019d78babe4b4ca7f0c31
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
-- <<<

-- >>> sql/functions/payments/check_payment_invariants.sql sha256:9a780cbdd18f81abb74f319b8cf01de296d65778ceb8494ce03c6a77025964a2
-- Every broken invariant of the books, one row each; none when all is well. The same questions as
-- sql/invariants asks from outside, by the same names; each part stands in a function of its own.
--
-- Locks: none. It reads one snapshot.

create or replace function public.check_payment_invariants()
returns table (
  invariant text,
  entity text,
  entity_id text,
  expected text,
  found text
)
language plpgsql
stable
security definer -- to whom row security hides rows, all would seem well
set search_path = pg_catalog, pg_temp
as $$
begin
  -- return
  return query
  select * from private.check_payments()
  union all
  select * from private.check_unapplied_payments()
  union all
  select * from private.check_settlements();
end;
$$;

comment on function public.check_payment_invariants() is
'Every broken invariant of the books as a row; none when all is well.';

revoke all on function public.check_payment_invariants()
from public, anon, authenticated, service_role;
grant execute on function public.check_payment_invariants() to authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/describe_applied.sql sha256:27ce33a879e5e2b0062be3d8d0501ce89d95be194ea5c925904d8bf28c0593e5
-- What a call paid, the same in the answers of all functions that pay several things at once:
-- {"opening_balance": rupees, "invoices": [{invoice_id, applied}], "sales": [{sale_id, applied}]}.
--
-- Locks: none.

create or replace function private.describe_applied(
  p_opening_balance numeric,
  p_invoice_ids uuid[],
  p_invoice_amounts numeric[],
  p_sale_ids uuid[],
  p_sale_amounts numeric[]
)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_invoices jsonb[] := '{}'::jsonb[];
  v_sales jsonb[] := '{}'::jsonb[];
begin
  for v_line in 1..coalesce(cardinality(p_invoice_ids), 0) loop
    v_invoices[v_line] := jsonb_build_object(
      'invoice_id', p_invoice_ids[v_line], 'applied', p_invoice_amounts[v_line]
    );
  end loop;

  for v_line in 1..coalesce(cardinality(p_sale_ids), 0) loop
    v_sales[v_line] := jsonb_build_object(
      'sale_id', p_sale_ids[v_line], 'applied', p_sale_amounts[v_line]
    );
  end loop;

  -- return
  return jsonb_build_object(
    'opening_balance', coalesce(p_opening_balance, 0),
    'invoices', to_jsonb(v_invoices),
    'sales', to_jsonb(v_sales)
  );
end;
$$;

comment on function private.describe_applied(numeric, uuid[], numeric[], uuid[], numeric[]) is
'What a call paid, as JSON: opening_balance, invoices, sales.';

revoke all on function private.describe_applied(numeric, uuid[], numeric[], uuid[], numeric[])
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/parse_payment.sql sha256:6c855ff0c1fadf2351c209a9ffd2e0218408e0183e465d06f0e4baeaff9921f3
-- Reads a payment as record_payment_atomic takes it: the only place that reads its jsonb, but for
-- the lists of invoices and of sales (parse_allocations, parse_sales).
--
-- A key that is null is as if it were left out, and so is an empty list; a key that is not known
-- is refused, since a misspelt one would be lost silently. Whatever comes, a refusal has a reason.
--
-- Locks: none.

create or replace function private.parse_payment(
  p_payment jsonb,
  out customer_id uuid,
  out amount numeric,
  out payment_date date,
  out payment_method text,
  out notes text,
  out period_start date,
  out period_end date,
  out opening_balance numeric,
  out invoice_ids uuid[],
  out invoice_amounts numeric[],
  out sale_ids uuid[],
  out sale_amounts numeric[]
)
returns record
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  c_keys constant text[] := array[
    'customer_id', 'amount', 'payment_date', 'payment_method', 'notes', 'period_start',
    'period_end', 'opening_balance', 'allocations', 'sales'
  ];
  v_payment jsonb;
  v_customer text;
  v_fault text;
begin
  if p_payment is null or jsonb_typeof(p_payment) <> 'object' then
    raise exception using
      errcode = 'PT400',
      message = 'payment_not_an_object',
      detail = jsonb_build_object('given', coalesce(jsonb_typeof(p_payment), 'null'))::text,
      hint = 'Send an object such as {"customer_id": "…", "amount": 300}.';
  elsif p_payment - c_keys <> '{}' then
    raise exception using
      errcode = 'PT400',
      message = 'payment_key_unknown',
      detail = jsonb_build_object(
        'unknown', (
          select jsonb_agg(left(named.key, 200)) from jsonb_object_keys(p_payment - c_keys) as named (key)
        ),
        'known', c_keys
      )::text,
      hint = 'Leave it out, or look at how it is spelt.';
  end if;

  v_payment := jsonb_strip_nulls(p_payment);

  -- texts
  v_customer := v_payment ->> 'customer_id';
  v_fault := case
    when
      -- a uuid; one pattern for all of it takes four times as long
      v_customer not like '________-____-____-____-____________'
      or v_customer ~ '[^0-9a-fA-F-]'
      or length(replace(v_customer, '-', '')) <> 32
      then 'customer_id'
    when jsonb_typeof(v_payment -> 'notes') <> 'string' then 'notes'
    when jsonb_typeof(v_payment -> 'payment_method') <> 'string' then 'payment_method'
  end;

  if v_fault is not null then
    raise exception using
      errcode = 'PT400',
      message = 'payment_field_malformed',
      detail = jsonb_build_object(
        'field', v_fault, 'given', left((v_payment -> v_fault)::text, 200)
      )::text,
      hint = 'customer_id is a uuid, payment_method and notes are texts.';
  end if;

  customer_id := v_customer::uuid;
  payment_method := v_payment ->> 'payment_method';
  notes := v_payment ->> 'notes';

  -- amounts
  if not v_payment ? 'amount' then
    raise exception using
      errcode = 'PT400',
      message = 'amount_required',
      detail = jsonb_build_object('amount', null)::text,
      hint = 'Say how much was paid.';
  end if;

  amount := private.money(v_payment -> 'amount');
  opening_balance := private.money(v_payment -> 'opening_balance');
  v_fault := case
    when amount is null then 'amount'
    when opening_balance is null and v_payment ? 'opening_balance' then 'opening_balance'
  end;

  if v_fault is not null then
    raise exception using
      errcode = 'PT400',
      message = 'amount_invalid',
      detail = jsonb_build_object(
        'field', v_fault, 'given', left((v_payment -> v_fault)::text, 200)
      )::text,
      hint = 'An amount is above 0, below 10,000,000,000 and has at most two decimals.';
  end if;

  -- days
  payment_date := private.calendar_date(v_payment ->> 'payment_date');
  period_start := private.calendar_date(v_payment ->> 'period_start');
  period_end := private.calendar_date(v_payment ->> 'period_end');
  v_fault := case
    when payment_date is null and v_payment ? 'payment_date' then 'payment_date'
    when period_start is null and v_payment ? 'period_start' then 'period_start'
    when period_end is null and v_payment ? 'period_end' then 'period_end'
  end;

  if v_fault is not null then
    raise exception using
      errcode = 'PT400',
      message = 'date_invalid',
      detail = jsonb_build_object(
        'field', v_fault, 'given', left((v_payment -> v_fault)::text, 200)
      )::text,
      hint = 'A day is written 2025-09-30, without a time.';
  elsif period_end < period_start then
    raise exception using
      errcode = 'PT400',
      message = 'period_reversed',
      detail = jsonb_build_object('period_start', period_start, 'period_end', period_end)::text,
      hint = 'The period ends on the day it starts, or later.';
  end if;

  -- lists
  if v_payment -> 'allocations' <> '[]' then
    select parsed.invoice_ids, parsed.amounts into invoice_ids, invoice_amounts
    from private.parse_allocations(v_payment -> 'allocations') as parsed;
  end if;

  if v_payment -> 'sales' <> '[]' then
    select parsed.sale_ids, parsed.amounts into sale_ids, sale_amounts
    from private.parse_sales(v_payment -> 'sales') as parsed;
  end if;
end;
$$;

comment on function private.parse_payment(jsonb) is
'Reads a payment as record_payment_atomic takes it; refuses whatever else.';

revoke all on function private.parse_payment(jsonb) from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/record_payment_atomic.sql sha256:965856dab9f27ae5a46e3a68536b51813d1f3c30bd905bd18520f91cf94da7b1
-- Records a payment with everything that it pays, in one transaction: the payment, its share of the
-- opening balance, its invoices and its sales; or nothing of it.
--
-- p_payment: {"customer_id": uuid, "amount": rupees, "payment_date": day (the dairy's today),
-- "payment_method", "notes", "period_start", "period_end", "opening_balance": rupees,
-- "allocations": [{"invoiceId": uuid, "amount": rupees}], "sales": [{"saleId": uuid}]}.
-- With an idempotency key the same call gets its first answer again (see claim_request). Undone by
-- its key it loses its allocations; the payment stays, unapplied.
--
-- Refusals, raised so that nothing stays written:
--   PT400 payment_not_an_object, payment_key_unknown, payment_field_malformed, amount_required,
--         amount_invalid, date_invalid, period_reversed, allocations_not_a_list,
--         allocation_malformed, idempotency_key_invalid
--   PT404 customer_not_found, invoice_not_found, sale_not_found
--   PT409 allocation_exceeds_payment, allocation_exceeds_opening_balance,
--         allocation_exceeds_invoice, invoice_cancelled, sale_billed, sale_already_paid,
--         idempotency_key_reused, request_undone
--   PT422 payment_without_customer, customer_mismatch, invoice_named_twice, sale_named_twice,
--         sale_not_payable, sale_paid_whole
--
-- Locks: the idempotency key, the customer where its opening balance is paid, the invoices by id,
-- the sales by id. The payment is its own until the commit.

create or replace function public.record_payment_atomic(
  p_payment jsonb,
  out success boolean,
  out payment_id uuid,
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
  v_payment record;
  v_arguments jsonb;
  v_request record;
  v_sale_amounts numeric[];
begin
  v_payment := private.parse_payment(p_payment);

  if v_key is not null then
    v_arguments := to_jsonb(v_payment);
  end if;

  -- lock
  v_request := private.claim_request('record_payment_atomic', v_key, v_arguments);

  if v_request.answer is not null then
    select first_answer.*
    into
      success, payment_id, allocated_amount, total_allocated, payment_amount, unapplied_amount,
      allocation_status, applied
    from jsonb_to_record(v_request.answer) as first_answer (
      success boolean,
      payment_id uuid,
      allocated_amount numeric,
      total_allocated numeric,
      payment_amount numeric,
      unapplied_amount numeric,
      allocation_status text,
      applied jsonb
    );
    return;
  end if;

  -- check and write
  perform from public.customers as customer where customer.id = v_payment.customer_id;

  if not found and v_payment.customer_id is not null then
    raise exception using
      errcode = 'PT404',
      message = 'customer_not_found',
      detail = jsonb_build_object('customer_id', v_payment.customer_id)::text,
      hint = 'The customer does not exist or was deleted; reload the list of customers.';
  elsif
    v_payment.customer_id is null
    and num_nonnulls(v_payment.opening_balance, v_payment.invoice_ids, v_payment.sale_ids) > 0
  then
    raise exception using
      errcode = 'PT422',
      message = 'payment_without_customer',
      detail = jsonb_build_object('customer_id', null)::text,
      hint = 'Name the customer, or record the payment without allocating it.';
  end if;

  perform set_config('pymilk.call_id', v_request.call_id::text, true);

  insert into public.payments as payment (
    customer_id, amount, payment_date, payment_method, notes, period_start, period_end,
    amount_applied, amount_unapplied, allocation_status
  )
  values (
    v_payment.customer_id,
    v_payment.amount,
    coalesce(v_payment.payment_date, public.business_today()),
    v_payment.payment_method,
    v_payment.notes,
    v_payment.period_start,
    v_payment.period_end,
    0,
    v_payment.amount,
    'unapplied'
  )
  returning payment.id into payment_id;

  if v_payment.opening_balance is not null then
    perform private.allocate_to_opening_balance(
      payment_id, v_payment.customer_id, v_payment.opening_balance
    );
  end if;

  if v_payment.invoice_ids is not null then
    perform private.allocate_to_invoices(
      payment_id, v_payment.invoice_ids, v_payment.invoice_amounts, true
    );
  end if;

  if v_payment.sale_ids is not null then
    v_sale_amounts := private.allocate_to_sales(
      payment_id, v_payment.sale_ids, v_payment.sale_amounts
    );
  end if;

  perform set_config('pymilk.call_id', v_outer_call, true);

  -- return
  success := true;
  applied := private.describe_applied(
    v_payment.opening_balance, v_payment.invoice_ids, v_payment.invoice_amounts,
    v_payment.sale_ids, v_sale_amounts
  );

  select
    payment.amount_applied, payment.amount_applied, payment.amount, payment.amount_unapplied,
    payment.allocation_status
  into allocated_amount, total_allocated, payment_amount, unapplied_amount, allocation_status
  from public.payments as payment
  where payment.id = payment_id;

  if v_key is not null then
    perform private.finish_request(
      'record_payment_atomic', v_key, v_arguments, v_request.call_id,
      jsonb_build_object(
        'success', success,
        'payment_id', payment_id,
        'allocated_amount', allocated_amount,
        'total_allocated', total_allocated,
        'payment_amount', payment_amount,
        'unapplied_amount', unapplied_amount,
        'allocation_status', allocation_status,
        'applied', applied
      )
    );
  end if;
end;
$$;

comment on function public.record_payment_atomic(jsonb) is
'Records a payment with everything that it pays, all or nothing.

p_payment {"customer_id"?: uuid | null, "amount": numeric, "payment_date"?: date,
  "payment_method"?: text | null, "notes"?: text | null, "period_start"?: date | null,
  "period_end"?: date | null, "opening_balance"?: numeric, "allocations"?: [{"invoice_id": uuid,
  "amount": numeric}], "sales"?: [{"sale_id": uuid, "amount"?: numeric}]}: without a date it is
  of today
payment_id: the payment that was made
total_allocated: of the payment, by now
unapplied_amount: what is left of the payment
allocation_status payments.allocation_status
applied {"opening_balance": numeric, "invoices": [{"invoice_id": uuid, "applied": numeric}],
  "sales": [{"sale_id": uuid, "applied": numeric}]}
never null: all';

revoke all on function public.record_payment_atomic(jsonb)
from public, anon, authenticated, service_role;
grant execute on function public.record_payment_atomic(jsonb) to authenticated, service_role;
-- <<<

-- >>> sql/functions/rules/calendar_date.sql sha256:7f31dfd87e124be015f2783a2b39247c64905b2a621151eeae91a2c15ab93c35
-- Reads a day written as 2025-09-30; null for whatever is not a day of the calendar. A time or a
-- time zone is no part of a day: which one is meant would depend on who reads it.
--
-- Locks: none.

create or replace function private.calendar_date(p_text text)
returns date
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts text[];
  v_first date;
begin
  v_parts := regexp_match(p_text, '^([0-9]{4})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$');
  if v_parts is null or v_parts[1] = '0000' then
    return null;
  end if;

  v_first := make_date(v_parts[1]::integer, v_parts[2]::integer, 1);
  if v_parts[3]::integer > extract(day from v_first + interval '1 month' - interval '1 day') then
    return null;
  end if;

  return v_first + (v_parts[3]::integer - 1);
end;
$$;

comment on function private.calendar_date(text) is
'The day that 2025-09-30 names; null for whatever is not a day of the calendar.';

revoke all on function private.calendar_date(text) from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/rules/money.sql sha256:b9eb759943f4a5c0f3a6f8c0bfe9d08f6723563548eeda6ea3f1add5cef5f5ec
-- Reads a sum of money out of a caller's JSON: a number or a decimal string, above 0, below 10^10,
-- of at most two decimals after trailing zeros. Null for whatever else; never a cast error.
--
-- Locks: none.

create or replace function private.money(p_value jsonb)
returns numeric
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_text constant text := p_value #>> '{}';
  v_amount numeric;
begin
  if jsonb_typeof(p_value) = 'number' then
    v_amount := trim_scale(v_text::numeric);
  elsif
    jsonb_typeof(p_value) = 'string'
    and length(v_text) <= 40
    and v_text ~ '^[0-9]+(\.[0-9]+)?$'
  then
    v_amount := trim_scale(v_text::numeric);
  end if;

  if v_amount > 0 and v_amount < 10000000000 and scale(v_amount) <= 2 then
    return v_amount;
  end if;

  return null;
end;
$$;

comment on function private.money(jsonb) is
'A sum of money out of JSON, in rupees: above 0, below 10^10, at most two decimals; else null.';

revoke all on function private.money(jsonb) from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/sales/bill_listed_sales.sql sha256:431dc40e93da1aa7a1f80ac7880f9cf9421e13994730a9217e96f5961ff01a5b
-- After any change of invoice_line_items: the Credit sales on the lines are Billed (Completed when
-- their invoice is paid), and Pending again when no live invoice has them any more.
--
-- A sale that was paid by itself is refused on a live invoice: its customer would pay it twice. The
-- sale's lock settles who comes first, the line or the payment. A line that says it was made earlier
-- than now comes from a `--data-only` restore, and so does the status of its sale; the roles of the
-- API restore nothing.
--
-- Locks: sales by id, `for no key update`.

create or replace function private.bill_listed_sales()
returns trigger
language plpgsql
security definer -- an invoker's update that row security filters would change nothing, silently
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew took half of a call's time
as $$
declare
  v_sale_ids uuid[];
  v_freed uuid[];
  v_offence uuid;
begin
  if tg_op = 'INSERT' then
    select array_agg(distinct added.sale_id) into v_sale_ids
    from new_rows as added
    where added.sale_id is not null
      and (
        added.created_at is not distinct from now()
        or current_setting('role', true) in ('anon', 'authenticated', 'service_role')
      );
  elsif tg_op = 'DELETE' then
    -- lines of a cancelled invoice billed nothing; those of an invoice that is gone did
    select array_agg(distinct gone.sale_id) into v_freed
    from old_rows as gone
    left join public.invoice_metadata as invoice on gone.invoice_id = invoice.id
    where gone.sale_id is not null and invoice.invoice_status is distinct from 'cancelled';
  else
    select
      array_agg(distinct added.sale_id) filter (where added.sale_id is not null),
      array_agg(distinct gone.sale_id) filter (
        where gone.sale_id is not null and invoice.invoice_status is distinct from 'cancelled'
      )
    into v_sale_ids, v_freed
    from new_rows as added
    inner join old_rows as gone on added.id = gone.id
    left join public.invoice_metadata as invoice on gone.invoice_id = invoice.id
    where (added.sale_id, added.invoice_id) is distinct from (gone.sale_id, gone.invoice_id);
  end if;

  if v_sale_ids is null and v_freed is null then
    return null;
  end if;

  -- lock
  perform
  from public.sales as sale
  where sale.id = any(v_sale_ids || v_freed)
  order by sale.id
  for no key update;

  -- check
  select sale.id into v_offence
  from public.sales as sale
  inner join private.bills_of_sales(v_sale_ids) as bill on sale.id = bill.sale_id
  where sale.amount_paid > 0
  order by sale.id
  limit 1;

  if found then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'invoice_line_items',
      constraint = 'invoice_line_items_sale_unpaid',
      column = 'sale_id',
      message = 'a sale that was paid by itself cannot be billed',
      detail = jsonb_build_object('sale_id', v_offence)::text,
      hint = 'Leave the sale off the invoice, or take its payment off first.';
  end if;

  -- write
  update public.sales as sale
  set payment_status = derived.status, updated_at = now()
  from (
    select
      named.id,
      case
        when bill.paid then 'Completed'
        when bill.sale_id is not null then 'Billed'
        else 'Pending'
      end as status
    from unnest(v_sale_ids || v_freed) as named (id)
    left join private.bills_of_sales(v_sale_ids || v_freed) as bill on named.id = bill.sale_id
    where bill.sale_id is not null or named.id = any(v_freed)
  ) as derived
  where sale.id = derived.id
    and sale.sale_type = 'Credit'
    and sale.amount_paid = 0
    and sale.payment_status <> derived.status;

  return null;
end;
$$;

comment on function private.bill_listed_sales() is
'Trigger: bills the sales on the lines of an invoice, and frees those that are on none any more.';

revoke all on function private.bill_listed_sales() from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/sales/bills_of_sales.sql sha256:07c6e2bfb4d1a60d2d1f4c5b0d859535f7c67ca8c1785851e5a52f1e0ff4add7
-- The live invoice on which each of these sales stands, and whether it is paid; no row for a sale
-- that is not billed. A cancelled invoice bills nothing; a draft does.
--
-- Locks: none.

create or replace function private.bills_of_sales(p_sale_ids uuid[])
returns table (
  sale_id uuid,
  invoice_id uuid,
  paid boolean
)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew took half of a call's time
as $$
begin
  -- return
  return query
  select
    line.sale_id,
    (array_agg(invoice.id order by invoice.id))[1],
    bool_or(invoice.invoice_status = 'paid')
  from public.invoice_line_items as line
  inner join public.invoice_metadata as invoice on line.invoice_id = invoice.id
  where line.sale_id = any(p_sale_ids) and invoice.invoice_status is distinct from 'cancelled'
  group by line.sale_id;
end;
$$;

comment on function private.bills_of_sales(uuid[]) is
'The live invoice on which each of these sales stands, and whether it is paid.';

revoke all on function private.bills_of_sales(uuid[])
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/sales/derive_sale.sql sha256:d416afddff1e92ebe113d317af5c908640b70244e9b56a0dc3857108a581b71a
-- Puts what follows from payments and invoices into a sale that somebody inserts or updates:
-- whatever the caller says of it is neither an error nor believed.
--
-- A Credit sale is Completed when it is paid, by itself or with its invoice, and Billed while it
-- stands on a live invoice; otherwise the status is the caller's word. The counter only moves
-- inside the triggers of sales_payments, which is why this one runs at trigger depth 0 alone.
--
-- Locks: none but the row's own.

create or replace function private.derive_sale()
returns trigger
language plpgsql
security definer -- an invoker whom row security filters would see no invoice, silently
set search_path = pg_catalog, pg_temp
as $$
declare
  v_bill record;
begin
  if tg_op = 'INSERT' then
    new.amount_paid := 0; -- nothing can point to a sale that is not there yet
    return new;
  end if;

  new.amount_paid := old.amount_paid;

  if new.sale_type <> 'Credit' then
    return new;
  elsif new.amount_paid > 0 and new.amount_paid >= new.total_amount then
    new.payment_status := 'Completed';
    return new;
  end if;

  select bill.paid into v_bill
  from private.bills_of_sales(array[new.id]) as bill;

  if found then
    new.payment_status := case when v_bill.paid then 'Completed' else 'Billed' end;
  end if;

  return new;
end;
$$;

comment on function private.derive_sale() is
'Trigger: puts the true amount_paid, and the payment_status that follows from it.';

revoke all on function private.derive_sale() from public, anon, authenticated, service_role;
-- <<<

-- triggers on what pays: from here on, writes to these tables wait for the commit -------------------

do $$
begin
  -- its triggers stay as they are, so none of the statements below locks it
  lock table public.sales_payments in share row exclusive mode;
end;
$$;

create trigger refuse_change
before update or delete or truncate on private.settlement_journal
for each statement execute function private.refuse_statement(
  'settlement_journal_append_only',
  'the journal is only ever appended to',
  'Correct the allocation itself; the journal follows.'
);

-- in place of gap 001's: the customer goes before the payment
create or replace trigger lock_payment
before insert or update of payment_id, customer_id, amount on public.opening_balance_payments
for each row
when (coalesce(current_setting('pymilk.call_id', true), '') = '')
execute function private.lock_customer_and_payment();

-- gap 006 puts its own in their place
create trigger bill_on_insert
after insert on public.invoice_line_items
referencing new table as new_rows
for each statement execute function private.bill_listed_sales();

create trigger bill_on_update
after update on public.invoice_line_items
referencing old table as old_rows new table as new_rows
for each statement execute function private.bill_listed_sales();

create trigger free_on_delete
after delete on public.invoice_line_items
referencing old table as old_rows
for each statement execute function private.bill_listed_sales();

-- what is there already: after the locks, before the rules that would refuse to say how it is -----

update public.customers as customer
set opening_balance_paid = paid.amount
from (
  select
    customer_id,
    sum(amount) as amount
  from public.opening_balance_payments
  group by customer_id
) as paid
where customer.id = paid.customer_id;

update public.sales as sale
set amount_paid = paid.amount
from (
  select
    sales_id,
    sum(amount_allocated) as amount
  from public.sales_payments
  group by sales_id
) as paid
where sale.id = paid.sales_id;

-- Statuses that differ from what payments and invoices say are corrected, and remembered.
with bill as (
  select
    item.sale_id,
    bool_or(invoice.invoice_status = 'paid') as paid
  from public.invoice_line_items as item
  inner join public.invoice_metadata as invoice on item.invoice_id = invoice.id
  where item.sale_id is not null and invoice.invoice_status is distinct from 'cancelled'
  group by item.sale_id
),

truth as (
  select
    sale.id,
    case
      when (sale.amount_paid > 0 and sale.amount_paid >= sale.total_amount) or bill.paid
        then 'Completed'
      else 'Billed'
    end as true_status
  from public.sales as sale
  left join bill on sale.id = bill.sale_id
  where
    sale.sale_type = 'Credit'
    and (
      bill.sale_id is not null
      or (sale.amount_paid > 0 and sale.amount_paid >= sale.total_amount)
    )
),

correction as (
  insert into private.sale_status_corrections (sale_id, was, corrected_to)
  select
    sale.id,
    sale.payment_status,
    truth.true_status
  from public.sales as sale
  inner join truth on sale.id = truth.id
  where sale.payment_status <> truth.true_status
  returning sale_id, corrected_to
)

update public.sales as sale
set payment_status = correction.corrected_to
from correction
where sale.id = correction.sale_id;

do $$
declare
  v_customers bigint;
  v_sales bigint;
  v_statuses bigint;
begin
  select count(*) into v_customers from public.customers where opening_balance_paid <> 0;
  select count(*) into v_sales from public.sales where amount_paid <> 0;
  select count(*) into v_statuses from private.sale_status_corrections;

  raise notice 'opening balances paid: %, sales paid: %, statuses of sales corrected: %',
    v_customers, v_sales, v_statuses;
end;
$$;

-- rules of customers and sales -----------------------------------------------------------------------

-- They stand in WHEN clauses, and those for updates compare with the row as it was: a row that
-- already offended can be touched in other columns, and can get better.

create trigger derive_opening_balance_paid_on_insert
before insert on public.customers
for each row
when (new.opening_balance_paid is distinct from 0)
execute function private.derive_opening_balance_paid();

create trigger derive_opening_balance_paid_on_update
before update of opening_balance_paid on public.customers
for each row
when (
  new.opening_balance_paid is distinct from old.opening_balance_paid
  and private.outside_our_triggers()
)
execute function private.derive_opening_balance_paid();

create trigger refuse_opening_balance_on_insert
before insert on public.customers
for each row
when (
  not (
    new.opening_balance >= 0
    and new.opening_balance < 10000000000
    and new.opening_balance = round(new.opening_balance, 2)
  )
)
execute function private.refuse_row(
  'customers_opening_balance_valid',
  'opening_balance',
  'an opening balance is 0 or more, below 10,000,000,000 and has at most two decimals',
  'Write the opening balance in rupees and whole paise.'
);

create trigger refuse_opening_balance_on_update
before update on public.customers
for each row
when (
  new.opening_balance is distinct from old.opening_balance
  and not (
    new.opening_balance >= 0
    and new.opening_balance < 10000000000
    and new.opening_balance = round(new.opening_balance, 2)
  )
)
execute function private.refuse_row(
  'customers_opening_balance_valid',
  'opening_balance',
  'an opening balance is 0 or more, below 10,000,000,000 and has at most two decimals',
  'Write the opening balance in rupees and whole paise.'
);

create trigger refuse_overpayment
before update on public.customers
for each row
when (
  not (
    new.opening_balance_paid >= 0
    and new.opening_balance_paid <= coalesce(new.opening_balance, 0)
    and coalesce(new.opening_balance, 0) < 10000000000
  )
  and (
    new.opening_balance_paid > old.opening_balance_paid
    or coalesce(new.opening_balance, 0) < coalesce(old.opening_balance, 0)
    or new.opening_balance_paid < 0
  )
)
execute function private.refuse_row(
  'customers_paid_within_opening_balance',
  'opening_balance_paid',
  'an opening balance cannot be paid beyond what it is',
  'Allocate no more than what remains of it, or take its payments off first.'
);

create trigger derive_sale_on_insert
before insert on public.sales
for each row
when (new.amount_paid is distinct from 0)
execute function private.derive_sale();

create trigger derive_sale_on_update
before update of payment_status, sale_type, amount_paid on public.sales
for each row
when (
  private.outside_our_triggers()
  and (
    new.amount_paid is distinct from old.amount_paid
    or new.payment_status is distinct from old.payment_status
    or new.sale_type is distinct from old.sale_type
  )
)
execute function private.derive_sale();

create trigger refuse_total_on_insert
before insert on public.sales
for each row
when (
  not (
    new.total_amount > 0
    and new.total_amount < 10000000000
    and new.total_amount = round(new.total_amount, 2)
  )
)
execute function private.refuse_row(
  'sales_total_valid',
  'total_amount',
  'the total of a sale is above 0, below 10,000,000,000 and has at most two decimals',
  'Round the total of the sale to whole paise.'
);

create trigger refuse_total_on_update
before update on public.sales
for each row
when (
  new.total_amount is distinct from old.total_amount
  and not (
    new.total_amount > 0
    and new.total_amount < 10000000000
    and new.total_amount = round(new.total_amount, 2)
  )
)
execute function private.refuse_row(
  'sales_total_valid',
  'total_amount',
  'the total of a sale is above 0, below 10,000,000,000 and has at most two decimals',
  'Round the total of the sale to whole paise.'
);

create trigger refuse_overpayment
before update on public.sales
for each row
when (
  not (new.amount_paid >= 0 and new.amount_paid <= new.total_amount)
  and (new.amount_paid > old.amount_paid or new.amount_paid < 0)
)
execute function private.refuse_row(
  'sales_paid_within_total',
  'amount_paid',
  'a sale cannot be paid beyond its total',
  'Allocate exactly what remains of the sale.'
);

create trigger refuse_total_of_paid
before update on public.sales
for each row
when (
  new.total_amount is distinct from old.total_amount
  and old.amount_paid <> 0
  and new.total_amount <> new.amount_paid
)
execute function private.refuse_row(
  'sales_paid_total_fixed',
  'total_amount',
  'a sale that is paid keeps its total',
  'Take its payment off first.'
);

create trigger refuse_customer_change
before update on public.sales
for each row
when (
  (new.customer_id is distinct from old.customer_id or new.sale_type <> old.sale_type)
  and old.amount_paid <> 0
)
execute function private.refuse_row(
  'sales_paid_customer_fixed',
  'customer_id',
  'a sale that is paid keeps its customer and its type',
  'Take its payment off first.'
);
