-- GAP-010: two bulk runs made two invoices for the same period, and the same number.
--
-- After this file live invoices of a customer can't overlap, whoever writes them, and numbers come
-- from a counter that the transaction which takes one holds: docs/gaps/gap_010.md.
--
-- A counter begins when its year's first number is wanted, after the highest that is in use then: so
-- an archived counter that a later deploy gives back finds no other in its place.
--
-- Locks on what exists: `create trigger` takes share row exclusive on invoice_metadata, so reads go
-- on and invoices wait to be written from the section "triggers" to the commit.

-- what the gap adds ------------------------------------------------------------------------------

create table public.invoice_counters (
  financial_year text primary key check (financial_year ~ '^[0-9]{6}$'),
  last_number bigint not null check (last_number between 0 and 99999),
  updated_at timestamptz not null default now()
);

comment on table public.invoice_counters is
'The last invoice number of each financial year; kept by the database.';

alter table public.invoice_counters enable row level security;

create policy "Staff read" on public.invoice_counters
for select to authenticated using (true);

revoke all on public.invoice_counters from public, anon, authenticated, service_role;
grant select on public.invoice_counters to authenticated, service_role;

select private.remember_privileges(
  '20250926000000_gap_010_generate_invoice_atomic',
  array['public.get_next_invoice_sequence(text)']::regprocedure[]
);

-- functions, quoted from sql/functions ----------------------------------------------------------

-- >>> sql/functions/invoices/check_invoice_series.sql sha256:e20383169661593ec3374c23126ff32145a4dbd403146b173a8a660126787d37
-- Every broken invariant of invoice series, one row each; a part of check_payment_invariants.
--
-- Locks: none. It reads one snapshot.

create or replace function private.check_invoice_series()
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
  select
    'live_invoices_apart',
    'invoice',
    later.id::text,
    'days that no other live invoice of the customer covers',
    format('overlaps %s, %s to %s', earlier.id, earlier.period_start, earlier.period_end)
  from (
    -- In order, so that only what begins before another one's end is laid beside all of a customer's.
    select
      invoice.*,
      max(invoice.period_end) over (
        partition by invoice.customer_id
        order by invoice.period_start, invoice.created_at, invoice.id
        rows between unbounded preceding and 1 preceding
      ) as covered_to
    from public.invoice_metadata as invoice
    where invoice.invoice_status is distinct from 'cancelled'
  ) as later
  inner join public.invoice_metadata as earlier on later.customer_id = earlier.customer_id
  where later.covered_to >= later.period_start
    and (later.period_start, later.created_at, later.id)
    > (earlier.period_start, earlier.created_at, earlier.id)
    and later.period_start <= earlier.period_end
    and later.period_end >= earlier.period_start
    and earlier.invoice_status is distinct from 'cancelled'
  union all
  select
    'invoice_numbers_unique',
    'invoice',
    min(invoice.id::text),
    'a number of its own',
    format('%s invoices numbered %s', count(*), invoice.invoice_number)
  from public.invoice_metadata as invoice
  where invoice.invoice_number is not null
  group by invoice.invoice_number
  having count(*) > 1
  union all
  select
    'invoice_numbers_counted',
    'invoice',
    invoice.id::text,
    format('a number up to %s', counter.last_number),
    invoice.invoice_number
  from public.invoice_counters as counter
  inner join public.invoice_metadata as invoice
    on counter.financial_year = left(invoice.invoice_number, 6)
  where invoice.invoice_number ~ '^[0-9]{11}$'
    and right(invoice.invoice_number, 5)::integer > counter.last_number;
end;
$$;

comment on function private.check_invoice_series() is
'Every broken invariant of invoice series as a row; none when all is well.';

revoke all on function private.check_invoice_series()
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/count_invoice_number.sql sha256:7fceab4e98a242dd78610f2df8a2463ab62776978e16df5d4adb1ea721327b2c
-- Before somebody writes an invoice with a number of his own: moves the year's counter up to it, so
-- that the database never gives the same number. The numbers that the database gave are counted.
--
-- It runs before the row exists: a writer who held the number's unique key and then waited for the
-- counter would deadlock with a call that holds the counter and waits for the key. For the same
-- reason the customer is locked first. Several numbers above the counter in one statement lock their
-- customers in the order of the rows; crossing a bulk run that may end in a deadlock report.
--
-- Locks: the customer, `for no key update`, then the year's counter, where the number is above it.

create or replace function private.count_invoice_number()
returns trigger
language plpgsql
security definer -- the counters are written by the database alone
set search_path = pg_catalog, pg_temp
as $$
declare
  v_year text := left(new.invoice_number, 6);
  v_number integer := right(new.invoice_number, 5)::integer;
begin
  if (left(v_year, 4)::integer + 1) % 100 <> right(v_year, 2)::integer
    or exists (
      select
      from public.invoice_counters as counter
      where counter.financial_year = v_year and counter.last_number >= v_number
    ) then
    return new;
  end if;

  -- lock
  perform
  from public.customers as customer
  where customer.id = new.customer_id
  for no key update;

  -- write
  if private.lock_invoice_counter(v_year) < v_number then
    update public.invoice_counters as counter
    set last_number = v_number, updated_at = now()
    where counter.financial_year = v_year;
  end if;

  return new;
end;
$$;

comment on function private.count_invoice_number() is
'Trigger: moves the counter of a financial year up to a number that somebody writes himself.';

revoke all on function private.count_invoice_number()
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/generate_invoice_atomic.sql sha256:9cfb029df010ee3b30d0521e6c521704006ae2753b36e1d932f6d90a4f2049a9
-- Invoices one customer for a period in one step. What is billed is told by billing_lines, how by
-- generate_invoices: the same as in a bulk run. An invoice that can't be made is refused here.
--
-- With an idempotency key the same call gets its first answer again (see claim_request).
--
-- Refusals, raised so that nothing stays written:
--   PT400 customer_required, period_required, period_invalid, idempotency_key_invalid
--   PT404 customer_not_found
--   PT409 already_invoiced, invoice_numbers_exhausted, idempotency_key_reused, request_undone
--   PT422 nothing_to_bill, delivery_invalid, sale_invalid, total_too_large
--
-- Locks: the idempotency key, then the customer, then as generate_invoices says.

create or replace function public.generate_invoice_atomic(
  p_customer_id uuid,
  p_period_start date,
  p_period_end date,
  out success boolean,
  out invoice_id uuid,
  out invoice_number text,
  out invoice_date date,
  out due_date date,
  out invoice_status text,
  out total_amount numeric,
  out subscription_amount numeric,
  out manual_sales_amount numeric,
  out gst_amount numeric,
  out line_items integer
)
returns record
language plpgsql
volatile
security definer -- numbers, keys and the audit trail are written by the database alone
set search_path = pg_catalog, pg_temp
as $$
declare
  v_key text := private.idempotency_key();
  v_outer_call text := coalesce(current_setting('pymilk.call_id', true), ''); -- in its trigger
  v_arguments jsonb;
  v_request record;
  v_made record;
begin
  if p_customer_id is null then
    raise exception using
      errcode = 'PT400',
      message = 'customer_required',
      detail = jsonb_build_object('p_customer_id', null)::text,
      hint = 'Name the customer to invoice.';
  end if;

  v_arguments := jsonb_build_object(
    'customer_id', p_customer_id, 'period_start', p_period_start, 'period_end', p_period_end
  );

  -- lock
  select claimed.call_id, claimed.answer into v_request
  from private.claim_request('generate_invoice_atomic', v_key, v_arguments) as claimed;

  if v_request.answer is not null then
    select first_answer.*
    into
      success, invoice_id, invoice_number, invoice_date, due_date, invoice_status, total_amount,
      subscription_amount, manual_sales_amount, gst_amount, line_items
    from jsonb_to_record(v_request.answer) as first_answer (
      success boolean,
      invoice_id uuid,
      invoice_number text,
      invoice_date date,
      due_date date,
      invoice_status text,
      total_amount numeric,
      subscription_amount numeric,
      manual_sales_amount numeric,
      gst_amount numeric,
      line_items integer
    );
    return;
  end if;

  -- check and write
  perform set_config('pymilk.call_id', v_request.call_id::text, true);

  select made.* into v_made
  from private.generate_invoices(array[p_customer_id], p_period_start, p_period_end, false) as made;

  perform set_config('pymilk.call_id', v_outer_call, true);

  if v_made.outcome = 'already_invoiced' then
    raise exception using
      errcode = 'PT409',
      message = 'already_invoiced',
      detail = (jsonb_build_object('customer_id', p_customer_id) || v_made.facts)::text,
      hint = private.billing_reason(v_made.outcome, v_made.facts);
  elsif v_made.outcome = 'nothing_to_bill' then
    raise exception using
      errcode = 'PT422',
      message = 'nothing_to_bill',
      detail = jsonb_build_object(
        'customer_id', p_customer_id, 'period_start', p_period_start, 'period_end', p_period_end
      )::text,
      hint = 'No delivery and no Credit sale of the period is waiting for an invoice.';
  elsif v_made.outcome = 'invalid_delivery' then
    raise exception using
      errcode = 'PT422',
      message = 'delivery_invalid',
      detail = (jsonb_build_object('customer_id', p_customer_id) || v_made.facts)::text,
      hint = private.billing_reason(v_made.outcome, v_made.facts);
  elsif v_made.outcome = 'invalid_sale' then
    raise exception using
      errcode = 'PT422',
      message = 'sale_invalid',
      detail = (jsonb_build_object('customer_id', p_customer_id) || v_made.facts)::text,
      hint = private.billing_reason(v_made.outcome, v_made.facts);
  elsif v_made.outcome = 'total_too_large' then
    raise exception using
      errcode = 'PT422',
      message = 'total_too_large',
      detail = (jsonb_build_object('customer_id', p_customer_id) || v_made.facts)::text,
      hint = private.billing_reason(v_made.outcome, v_made.facts);
  end if;

  -- return
  select
    true,
    invoice.id,
    invoice.invoice_number,
    invoice.invoice_date,
    invoice.due_date,
    invoice.invoice_status,
    invoice.total_amount,
    invoice.subscription_amount,
    invoice.manual_sales_amount,
    invoice.gst_amount,
    (
      select count(*)
      from public.invoice_line_items as line
      where line.invoice_id = invoice.id
    )
  into
    success, invoice_id, invoice_number, invoice_date, due_date, invoice_status, total_amount,
    subscription_amount, manual_sales_amount, gst_amount, line_items
  from public.invoice_metadata as invoice
  where invoice.id = v_made.invoice_id;

  perform private.finish_request(
    'generate_invoice_atomic', v_key, v_arguments, v_request.call_id,
    jsonb_build_object(
      'success', success,
      'invoice_id', invoice_id,
      'invoice_number', invoice_number,
      'invoice_date', invoice_date,
      'due_date', due_date,
      'invoice_status', invoice_status,
      'total_amount', total_amount,
      'subscription_amount', subscription_amount,
      'manual_sales_amount', manual_sales_amount,
      'gst_amount', gst_amount,
      'line_items', line_items
    )
  );
end;
$$;

comment on function public.generate_invoice_atomic(uuid, date, date) is
'Invoices one customer for a period: its delivered deliveries and Credit sales, each once.

invoice_status invoice_metadata.invoice_status
never null: all';

revoke all on function public.generate_invoice_atomic(uuid, date, date)
from public, anon, authenticated, service_role;
grant execute on function public.generate_invoice_atomic(uuid, date, date)
to authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/get_next_invoice_sequence.sql sha256:2ef8d53879f911961462468c8937669353c38eed082c9987b78570885bfd292e
-- Takes the next number of a financial year for the app, which writes it behind the year's code by
-- itself. It was the highest number in use plus one, without a lock: two callers got the same.
--
-- Refusals: PT400 financial_year_invalid; PT409 invoice_numbers_exhausted
-- Locks: the year's counter, after customers and before invoices.

create or replace function public.get_next_invoice_sequence(year_code text)
returns integer
language plpgsql
volatile
security definer -- the counters are written by the database alone
set search_path = pg_catalog, pg_temp
as $$
begin
  -- lock, check, write, return
  return private.take_invoice_numbers(private.parse_financial_year(year_code), 1);
end;
$$;

comment on function public.get_next_invoice_sequence(text) is
'Takes the next number of a financial year; no other caller gets it. See next_invoice_number.

never null: returns';

revoke all on function public.get_next_invoice_sequence(text)
from public, anon, authenticated, service_role;
grant execute on function public.get_next_invoice_sequence(text) to authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/lock_invoice_counter.sql sha256:d03632c8ee4ee6411ff1d41bee2de0c5710f0ef4c32fe533092d0f87bcba52e4
-- Holds the counter of a financial year's invoice numbers and returns the last number taken. A year
-- that has none yet begins after the highest number in use.
--
-- p_financial_year: a valid code (private.financial_year).
-- Locks: the year's counter, after customers and before invoices, until the transaction ends.

create or replace function private.lock_invoice_counter(p_financial_year text)
returns integer
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_last integer;
begin
  -- lock
  select counter.last_number into v_last
  from public.invoice_counters as counter
  where counter.financial_year = p_financial_year
  for no key update;

  if found then
    return v_last;
  end if;

  -- write; who comes second waits for the first one's row
  insert into public.invoice_counters as counter (financial_year, last_number)
  select p_financial_year, coalesce(max(right(invoice.invoice_number, 5)::integer), 0)
  from public.invoice_metadata as invoice
  where invoice.invoice_number ~ ('^' || p_financial_year || '[0-9]{5}$')
  on conflict (financial_year) do nothing;

  -- return
  select counter.last_number into v_last
  from public.invoice_counters as counter
  where counter.financial_year = p_financial_year
  for no key update;

  return v_last;
end;
$$;

comment on function private.lock_invoice_counter(text) is
'Holds the counter of a financial year''s invoice numbers and returns the last number taken.';

revoke all on function private.lock_invoice_counter(text)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/next_invoice_number.sql sha256:855ade35cb4b5b435927417fbfb00363d1b35868aef457f014a348ac68ce38bd
-- Takes the next invoice number of a financial year: code and five digits, 20252600001. No other
-- caller gets it; a transaction that fails gives it back, one that commits without using it leaves
-- a hole.
--
-- Refusals: PT400 financial_year_invalid; PT409 invoice_numbers_exhausted
-- Locks: the year's counter, after customers and before invoices.

create or replace function public.next_invoice_number(p_financial_year text)
returns text
language plpgsql
volatile
security definer -- the counters are written by the database alone
set search_path = pg_catalog, pg_temp
as $$
declare
  v_year text := private.parse_financial_year(p_financial_year);
begin
  -- lock, check, write, return
  return v_year || lpad(private.take_invoice_numbers(v_year, 1)::text, 5, '0');
end;
$$;

comment on function public.next_invoice_number(text) is
'Takes the next invoice number of a financial year: code and five digits.

p_financial_year: such as 202526, from April 2025 to March 2026
never null: returns';

revoke all on function public.next_invoice_number(text)
from public, anon, authenticated, service_role;
grant execute on function public.next_invoice_number(text) to authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/parse_financial_year.sql sha256:9d65842c6830825843c80646e6f7d6a17ef3129eb2d1b9a747e2e1a9a1f1a11b
-- A caller's code of a financial year, when it is one: six digits, the year it begins in and the last
-- two of the year after, such as 202526.
--
-- Refusals: PT400 financial_year_invalid
-- Locks: none.

create or replace function private.parse_financial_year(p_financial_year text)
returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- check
  if
    p_financial_year ~ '^[0-9]{6}$'
    and (left(p_financial_year, 4)::integer + 1) % 100 = right(p_financial_year, 2)::integer
  then
    return p_financial_year;
  end if;

  raise exception using
    errcode = 'PT400',
    message = 'financial_year_invalid',
    detail = jsonb_build_object('given', left(p_financial_year, 100))::text,
    hint = 'A financial year from April 2025 to March 2026 is written 202526.';
end;
$$;

comment on function private.parse_financial_year(text) is
'A caller''s code of a financial year, when it is one: 202526.';

revoke all on function private.parse_financial_year(text)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/refuse_overlap.sql sha256:a5fae220e36a5001f94d0ab10eae3b3f554e156e1dc919396b288114a37c6157
-- After invoices were inserted, or one became live, got another customer or a longer period: refuses
-- (23514) whatever overlaps another live invoice of the customer. Drafts are live, cancelled
-- invoices are not, and deleted ones are cancelled.
--
-- Two who write at once both lock the customer and then look: the second sees what the first
-- committed. That takes `read committed`, in which the API and every caller of ours work. A stricter
-- transaction looks at a snapshot that may be older than the lock, so it is refused (0A000).
--
-- The rows of one statement are looked at together, so that a month of all customers stays quick.
--
-- Locks: the customers by id, `for no key update`; a call holds them already.

create or replace function private.refuse_overlap()
returns trigger
language plpgsql
security definer -- an invoker whom row security filters would lock nothing, silently
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew takes longer than its work
as $$
declare
  v_invoice_ids uuid[];
  v_customer_ids uuid[];
  v_offence record;
begin
  if tg_level = 'ROW' then
    if
      new.invoice_status = 'cancelled'
      or (
        old.invoice_status is distinct from 'cancelled'
        and new.customer_id = old.customer_id
        and new.period_start >= old.period_start
        and new.period_end <= old.period_end
      )
    then
      return null;
    end if;

    v_invoice_ids := array[new.id];
    v_customer_ids := array[new.customer_id];
  else
    select array_agg(added.id), array_agg(added.customer_id)
    into v_invoice_ids, v_customer_ids
    from new_rows as added
    where added.invoice_status is distinct from 'cancelled';
  end if;

  if v_invoice_ids is null then
    return null;
  end if;

  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception using
      errcode = 'feature_not_supported',
      message = 'invoices are written in read committed transactions alone',
      detail = jsonb_build_object(
        'transaction_isolation', current_setting('transaction_isolation')
      )::text,
      hint = 'An older snapshot cannot show the invoices that it would overlap.';
  end if;

  -- lock
  perform
  from public.customers as customer
  where customer.id = any(v_customer_ids)
  order by customer.id
  for no key update;

  -- check
  select
    invoice.id,
    invoice.customer_id,
    other.id as other_id,
    other.invoice_number as other_number,
    other.period_start,
    other.period_end
  into v_offence
  from public.invoice_metadata as invoice
  inner join public.invoice_metadata as other on invoice.customer_id = other.customer_id
  where invoice.id = any(v_invoice_ids)
    and other.id <> invoice.id
    and other.period_start <= invoice.period_end
    and other.period_end >= invoice.period_start
    and other.invoice_status is distinct from 'cancelled'
  limit 1;

  if found then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'invoice_metadata',
      constraint = 'invoice_metadata_no_overlap',
      column = 'period_start',
      message = 'the customer has a live invoice that overlaps this period',
      detail = jsonb_build_object(
        'id', v_offence.id,
        'customer_id', v_offence.customer_id,
        'overlaps', v_offence.other_id,
        'invoice_number', v_offence.other_number,
        'period_start', v_offence.period_start,
        'period_end', v_offence.period_end
      )::text,
      hint = 'Choose days that are not invoiced yet, or cancel the other invoice first.';
  end if;

  return null;
end;
$$;

comment on function private.refuse_overlap() is
'Trigger: refuses (23514) live invoices of one customer whose periods overlap.';

revoke all on function private.refuse_overlap() from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/invoices/take_invoice_numbers.sql sha256:d618633a24cdf6ba35ae7c92d40f446a5402e7681bea6662514798d58605c923
-- Takes the next invoice numbers of a financial year, one after the other, and returns the first.
--
-- p_financial_year: a valid code (private.financial_year).
-- Refusals: PT409 invoice_numbers_exhausted
-- Locks: the year's counter, after customers and before invoices, until the transaction ends: a
-- transaction that fails gives its numbers back, so no failed run leaves a hole.

create or replace function private.take_invoice_numbers(
  p_financial_year text,
  p_count integer
)
returns integer
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  -- lock
  v_last integer := private.lock_invoice_counter(p_financial_year);
begin
  -- check
  if v_last + p_count > 99999 then
    raise exception using
      errcode = 'PT409',
      message = 'invoice_numbers_exhausted',
      detail = jsonb_build_object(
        'financial_year', p_financial_year, 'last_number', v_last, 'wanted', p_count
      )::text,
      hint = 'The five digits of this financial year are used up.';
  end if;

  -- write
  update public.invoice_counters as counter
  set last_number = v_last + p_count, updated_at = now()
  where counter.financial_year = p_financial_year;

  -- return
  return v_last + 1;
end;
$$;

comment on function private.take_invoice_numbers(text, integer) is
'Takes the next invoice numbers of a financial year and returns the first.';

revoke all on function private.take_invoice_numbers(text, integer)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/check_payment_invariants.sql sha256:4962298c2cd7e160ff8c9e13945978406c300cd0dd6f0e78c4e0cd8a76129278
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
  select * from private.check_settlements()
  union all
  select * from private.check_billing()
  union all
  select * from private.check_billed_amounts()
  union all
  select * from private.check_payment_methods()
  union all
  select * from private.check_invoice_series();
end;
$$;

comment on function public.check_payment_invariants() is
'Every broken invariant of the books as a row; none when all is well.

entity: what kind of thing breaks it, such as payment or invoice
entity_id: which one; null when it is the books as a whole
never null: invariant, entity';

revoke all on function public.check_payment_invariants()
from public, anon, authenticated, service_role;
grant execute on function public.check_payment_invariants() to authenticated, service_role;
-- <<<

-- triggers ---------------------------------------------------------------------------------------

-- A call has its numbers from the counter; whoever brings one of his own moves the counter up to it.
create trigger count_invoice_number_on_insert
before insert on public.invoice_metadata
for each row
when (
  new.invoice_number ~ '^[0-9]{11}$'
  and coalesce(current_setting('pymilk.call_id', true), '') = ''
)
execute function private.count_invoice_number();

create trigger count_invoice_number_on_update
before update of invoice_number on public.invoice_metadata
for each row
when (
  new.invoice_number is distinct from old.invoice_number and new.invoice_number ~ '^[0-9]{11}$'
)
execute function private.count_invoice_number();

create trigger refuse_period_on_insert
before insert on public.invoice_metadata
for each row
when (
  new.period_end < new.period_start
  or new.period_start = '-infinity'
  or new.period_end = 'infinity'
)
execute function private.refuse_row(
  'invoice_metadata_period_valid',
  'period_end',
  'the period of an invoice has a first day, and a last one on it or after it',
  'Name the first and the last day of the period, in this order.'
);

create trigger refuse_period_on_update
before update of period_start, period_end on public.invoice_metadata
for each row
when (
  (
    new.period_end < new.period_start
    and (new.period_start is distinct from old.period_start or new.period_end < old.period_end)
  )
  or (new.period_start = '-infinity' and new.period_start < old.period_start)
  or (new.period_end = 'infinity' and new.period_end > old.period_end)
)
execute function private.refuse_row(
  'invoice_metadata_period_valid',
  'period_end',
  'the period of an invoice has a first day, and a last one on it or after it',
  'Name the first and the last day of the period, in this order.'
);

create trigger refuse_overlap_on_insert
after insert on public.invoice_metadata
referencing new table as new_rows
for each statement execute function private.refuse_overlap();

-- Only what could overlap anew: an old pair that overlaps already can be touched elsewhere.
create trigger refuse_overlap_on_update
after update of customer_id, period_start, period_end, invoice_status on public.invoice_metadata
for each row
execute function private.refuse_overlap();
