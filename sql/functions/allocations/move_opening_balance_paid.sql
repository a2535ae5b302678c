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
