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
