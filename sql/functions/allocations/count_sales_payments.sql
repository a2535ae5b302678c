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
