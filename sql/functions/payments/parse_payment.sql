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
