-- After any change of opening_balance_payments: moves the counter of the payments.
--
-- Locks: payments by id, `for no key update`.

create or replace function private.count_opening_balance_payments()
returns trigger
language plpgsql
security definer -- an invoker's update that row security filters would count nothing, silently
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew took half of a call's time
as $$
declare
  v_payment_ids uuid[];
  v_changes numeric[];
begin
  if tg_op <> 'DELETE' then
    select array_agg(added.payment_id), array_agg(added.amount)
    into v_payment_ids, v_changes
    from new_rows as added;
  end if;

  if tg_op <> 'INSERT' then
    select
      v_payment_ids || array_agg(gone.payment_id),
      v_changes || array_agg(-gone.amount)
    into v_payment_ids, v_changes
    from old_rows as gone;
  end if;

  if v_changes is not null then
    perform private.move_amount_applied(v_payment_ids, v_changes);
  end if;

  return null;
end;
$$;

comment on function private.count_opening_balance_payments() is
'Trigger: moves the counter of payments by what changed in opening_balance_payments.';

revoke all on function private.count_opening_balance_payments()
from public, anon, authenticated, service_role;
