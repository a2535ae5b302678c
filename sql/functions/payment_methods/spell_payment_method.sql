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
