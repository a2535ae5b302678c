-- GAP-009: payment_method was free text.
--
-- After this file what is written there becomes one of six names, or is refused, and a payment keeps
-- within the limits of its method. Rows that are there stay as they are: they are listed by
-- check_payment_invariants, and can be edited elsewhere. docs/gaps/gap_009.md tells the whole story.
--
-- Locks: `create trigger` takes share row exclusive on payments, from the section "triggers" to the
-- commit: reads go on, writes wait.

-- functions, quoted from sql/functions ----------------------------------------------------------

-- >>> sql/functions/payment_methods/canonical_payment_method.sql sha256:318f05fa61c59b113f2da12823a1e7bbb03a8002a2d6a143cc44821056c0d56a
-- The one name of a payment method, whatever people call it: Cash, UPI, Bank Transfer, Cheque,
-- Online or Card. Empty for a blank, null for what is none of them.
--
-- ASCII alone is folded, whatever the database's locale: a letter that only looks like one of these
-- makes another word, which nobody knows.
--
-- Locks: none.

create or replace function private.canonical_payment_method(p_method text)
returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if length(p_method) > 100 then
    return null;
  end if;

  -- return
  return case translate(lower(coalesce(p_method, '') collate "C"), E' \t\n\r\f\x0b-_', '')
    when '' then ''
    when 'cash' then 'Cash'
    when 'upi' then 'UPI'
    when 'gpay' then 'UPI'
    when 'phonepe' then 'UPI'
    when 'paytm' then 'UPI'
    when 'bhim' then 'UPI'
    when 'qr' then 'UPI'
    when 'banktransfer' then 'Bank Transfer'
    when 'bank' then 'Bank Transfer'
    when 'neft' then 'Bank Transfer'
    when 'imps' then 'Bank Transfer'
    when 'rtgs' then 'Bank Transfer'
    when 'cheque' then 'Cheque'
    when 'check' then 'Cheque'
    when 'dd' then 'Cheque'
    when 'online' then 'Online'
    when 'netbanking' then 'Online'
    when 'card' then 'Card'
    when 'debitcard' then 'Card'
    when 'creditcard' then 'Card'
  end;
end;
$$;

comment on function private.canonical_payment_method(text) is
'The one name of a payment method; empty for a blank, null for what is none.';

revoke all on function private.canonical_payment_method(text)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/payment_methods/known_payment_method.sql sha256:e44813a6edbecb54ba06e9f06ce06da526b226a4e48653bf635259099899ccb4
-- The one name of a payment method (canonical_payment_method), null for a blank.
--
-- Refusals: PT422 payment_method_unknown
-- Locks: none.

create or replace function private.known_payment_method(p_method text)
returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_method text := private.canonical_payment_method(p_method);
begin
  if v_method is null then
    raise exception using
      errcode = 'PT422',
      message = 'payment_method_unknown',
      detail = jsonb_build_object(
        'given', left(p_method, 200),
        'known', array['Cash', 'UPI', 'Bank Transfer', 'Cheque', 'Online', 'Card']
      )::text,
      hint = 'Choose Cash, UPI, Bank Transfer, Cheque, Online or Card, or leave it blank.';
  end if;

  -- return
  return nullif(v_method, '');
end;
$$;

comment on function private.known_payment_method(text) is
'The one name of a payment method, null for a blank; refuses what is none.';

revoke all on function private.known_payment_method(text)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/payment_methods/normalize_payment_method.sql sha256:b112969ab64681caa6a258c152ec4a2a2b6f9d9d0d07eaf528a4064b044f2acc
-- The one name of a payment method, whatever people call it: Cash, UPI, Bank Transfer, Cheque,
-- Online or Card; null for a blank. Case, spaces, hyphens and underscores do not matter.
--
-- Refusals: PT422 payment_method_unknown
-- Locks: none.

create or replace function public.normalize_payment_method(p_method text)
returns text
language plpgsql
immutable
security definer -- the names of methods are kept in a schema that no caller may use
set search_path = pg_catalog, pg_temp
as $$
begin
  -- return
  return private.known_payment_method(p_method);
end;
$$;

comment on function public.normalize_payment_method(text) is
'The one name of a payment method; null for blank.

p_method text | null: as people write it, such as gpay or NEFT
returns "Cash" | "UPI" | "Bank Transfer" | "Cheque" | "Online" | "Card" | null';

revoke all on function public.normalize_payment_method(text)
from public, anon, authenticated, service_role;
grant execute on function public.normalize_payment_method(text) to authenticated, service_role;
-- <<<

-- >>> sql/functions/payment_methods/payment_method_limits.sql sha256:0494f60e3a587cacc554aa47f90dec5608792800112cad711ea1b4ecd83125c2
-- The least and the most that one payment of a method may come to, in rupees, both included. That
-- an amount is above 0 is a rule of payments by itself.
--
-- p_method: its one name (canonical_payment_method).
-- Locks: none.

create or replace function private.payment_method_limits(
  p_method text,
  out least_amount numeric,
  out most_amount numeric
)
returns record
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  least_amount := case p_method
    when 'Cash' then 0
    when 'Cheque' then 1000
    else 1
  end;
  most_amount := case p_method
    when 'Cash' then 50000
    when 'Cheque' then 1000000
    when 'Bank Transfer' then 1000000
    else 100000
  end;
end;
$$;

comment on function private.payment_method_limits(text) is
'The least and the most that one payment of a method may come to, in rupees.';

revoke all on function private.payment_method_limits(text)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/payment_methods/spell_payment_method.sql sha256:499259e3de19e61e92b2b0c504091b67f61a5c2d2df4a6528cab4575733ee081
-- Puts the one name of its method into a payment, whatever the writer calls it, and holds the limits
-- of the method. It is called when a payment with a method is recorded, and when the method or the
-- amount changes.
--
-- A row from before this rule can get better: a method that nobody knows may stay while the amount
-- is edited, and an amount beyond the limits may come nearer to them.
--
-- Refusals: 23514 payments_method_known, payments_method_within_limits to whoever writes the table;
--   to a call of a function PT422 payment_method_unknown, payment_method_limit_exceeded
-- Locks: none but the row's own.

create or replace function private.spell_payment_method()
returns trigger
language plpgsql
security definer -- the same for every caller, whatever that caller may execute
set search_path = pg_catalog, pg_temp
as $$
declare
  v_in_call boolean := coalesce(current_setting('pymilk.call_id', true), '') <> '';
  v_method text := private.canonical_payment_method(new.payment_method);
  v_limits record;
begin
  -- check
  if v_method is null and tg_op = 'UPDATE' then
    if new.payment_method is not distinct from old.payment_method then
      return new;
    end if;
  end if;

  if v_method is null and v_in_call then
    perform private.known_payment_method(new.payment_method);
  elsif v_method is null then
    raise exception using
      errcode = 'check_violation',
      schema = tg_table_schema,
      table = tg_table_name,
      constraint = 'payments_method_known',
      column = 'payment_method',
      message = 'a payment is made by a method that is known, or by none that is said',
      detail = jsonb_build_object(
        'id', new.id, 'payment_method', left(new.payment_method, 200)
      )::text,
      hint = 'Choose Cash, UPI, Bank Transfer, Cheque, Online or Card, or leave it blank.';
  end if;

  new.payment_method := nullif(v_method, '');

  if v_method = '' then
    return new;
  end if;

  select limits.least_amount, limits.most_amount into v_limits
  from private.payment_method_limits(v_method) as limits;

  if new.amount between v_limits.least_amount and v_limits.most_amount then
    return new;
  end if;

  if tg_op = 'UPDATE' then
    if private.canonical_payment_method(old.payment_method) = v_method
      and (
        new.amount between v_limits.least_amount and old.amount
        or new.amount between old.amount and v_limits.most_amount
      )
    then
      return new;
    end if;
  end if;

  if v_in_call then
    raise exception using
      errcode = 'PT422',
      message = 'payment_method_limit_exceeded',
      detail = jsonb_build_object(
        'payment_method', v_method,
        'amount', new.amount,
        'least', v_limits.least_amount,
        'most', v_limits.most_amount
      )::text,
      hint = 'Choose another method, or record what was paid by each method on its own.';
  end if;

  raise exception using
    errcode = 'check_violation',
    schema = tg_table_schema,
    table = tg_table_name,
    constraint = 'payments_method_within_limits',
    column = 'amount',
    message = 'a payment keeps within the limits of its method',
    detail = jsonb_build_object(
      'id', new.id,
      'payment_method', v_method,
      'amount', new.amount,
      'least', v_limits.least_amount,
      'most', v_limits.most_amount
    )::text,
    hint = 'Choose another method, or record what was paid by each method on its own.';
end;
$$;

comment on function private.spell_payment_method() is
'Trigger: puts the one name of its method into a payment, and holds the limits of the method.';

revoke all on function private.spell_payment_method()
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/check_payment_invariants.sql sha256:9675f70071d63b55101eb0e618683cdb2b543e142f236d14d50f4ff80204e125
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
  select * from private.check_payment_methods();
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

-- >>> sql/functions/payments/check_payment_methods.sql sha256:842b837b8efe1022f668f0a0d1dc9bbc72f3d07b22d1f05b1d83cd6fa6914b6c
-- Every broken invariant of payment methods, one row each; a part of check_payment_invariants.
-- Voided payments are left as they were.
--
-- Locks: none. It reads one snapshot.

create or replace function private.check_payment_methods()
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
  -- some methods, many payments: a method is looked at once
  with method as materialized (
    select
      known.written,
      nullif(private.canonical_payment_method(known.written), '') as canonical
    from (
      select payment.payment_method as written
      from public.payments as payment
      where payment.payment_method is not null
      group by payment.payment_method
    ) as known
  )

  select
    'payment_methods_canonical',
    'payment',
    payment.id::text,
    'Cash, UPI, Bank Transfer, Cheque, Online, Card or none',
    left(payment.payment_method, 200)
  from method
  inner join public.payments as payment on method.written = payment.payment_method
  where payment.voided_at is null
    and method.written is distinct from method.canonical
  union all
  select
    'payment_methods_within_limits',
    'payment',
    payment.id::text,
    concat(payment.payment_method, ' of ', limits.least_amount, ' to ', limits.most_amount),
    payment.amount::text
  from method
  cross join lateral private.payment_method_limits(method.written) as limits
  inner join public.payments as payment on method.written = payment.payment_method
  where payment.voided_at is null
    and method.written = method.canonical
    and payment.amount not between limits.least_amount and limits.most_amount;
end;
$$;

comment on function private.check_payment_methods() is
'Every broken invariant of payment methods as a row; none when all is well.';

revoke all on function private.check_payment_methods()
from public, anon, authenticated, service_role;
-- <<<

-- triggers: from here on, writes to payments wait for the commit -----------------------------------
-- Named so that they come after the rules of the amount itself: what is no amount is told first.

create trigger spell_method_on_insert
before insert on public.payments
for each row
when (new.payment_method is not null)
execute function private.spell_payment_method();

create trigger spell_method_on_update
before update of amount, payment_method on public.payments
for each row
when (
  new.payment_method is not null
  and (
    new.payment_method is distinct from old.payment_method
    or new.amount is distinct from old.amount
  )
)
execute function private.spell_payment_method();
