-- Moves the guarded counter payments.amount_applied by what changed in the allocation tables, and
-- with it everything that follows from it.
--
-- The limit 0 <= amount_applied <= amount is a rule of the table (see refuse_row): two writers
-- queue on the row, and the second one's move is measured against the first one's.
--
-- p_changes: rupees, one for each payment id, negative when money comes off; ids may repeat.
-- Locks: payments by id, `for no key update`, before any invoice or sale.

create or replace function private.move_amount_applied(
  p_payment_ids uuid[],
  p_changes numeric[]
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_stranger uuid;
begin
  -- lock
  perform
  from public.payments as payment
  where payment.id = any(p_payment_ids)
  order by payment.id
  for no key update;

  -- check
  select payment.id into v_stranger
  from unnest(p_payment_ids, p_changes) as change (payment_id, amount)
  inner join public.payments as payment on change.payment_id = payment.id
  where payment.customer_id is null
  group by payment.id
  having sum(change.amount) > 0
  limit 1;

  if found then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'payments',
      constraint = 'payments_customer_known',
      column = 'customer_id',
      message = 'a payment without a customer takes no allocation',
      detail = jsonb_build_object('payment_id', v_stranger)::text,
      hint = 'Set the customer of the payment first.';
  end if;

  -- write
  update public.payments as payment
  set
    amount_applied = payment.amount_applied + moved.amount,
    amount_unapplied = payment.amount - (payment.amount_applied + moved.amount),
    allocation_status = case
      when payment.amount_applied + moved.amount <= 0 then 'unapplied'
      when payment.amount_applied + moved.amount < payment.amount then 'partially_applied'
      else 'fully_applied'
    end,
    -- the app's own statements set it themselves; a restore keeps what was
    updated_at = case
      when current_setting('pymilk.call_id', true) <> '' then now()
      else payment.updated_at
    end
  from (
    select change.payment_id, sum(change.amount) as amount
    from unnest(p_payment_ids, p_changes) as change (payment_id, amount)
    group by change.payment_id
    having sum(change.amount) <> 0
  ) as moved
  where payment.id = moved.payment_id;
end;
$$;

comment on function private.move_amount_applied(uuid[], numeric[]) is
'Moves payments.amount_applied, and what follows from it, by what changed in the allocations.';

revoke all on function private.move_amount_applied(uuid[], numeric[])
from public, anon, authenticated, service_role;
