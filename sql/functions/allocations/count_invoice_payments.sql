-- After any change of invoice_payments, by an RPC or directly: moves the counters of both sides and
-- writes the change into the journal, with the reason that the call or the writer gave.
--
-- A row that was only annotated changes nothing. A row that says it was made earlier than now comes
-- from a `--data-only` restore: it counts, but what the journal says of it is restored by itself.
-- The roles of the API restore nothing: when their row was made is not their word, and it is entered
-- like any other.
--
-- Locks: payments by id, then invoices by id, `for no key update`.

create or replace function private.count_invoice_payments()
returns trigger
language plpgsql
security definer -- an invoker's update that row security filters would count nothing, silently
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew took half of a call's time
as $$
declare
  v_payment_ids uuid[];
  v_invoice_ids uuid[];
  v_changes numeric[];
  v_restored boolean[];
  v_caller text;
begin
  if tg_op = 'INSERT' then
    select
      array_agg(added.payment_id),
      array_agg(added.invoice_id),
      array_agg(added.amount_allocated),
      array_agg(added.created_at is distinct from now())
    into v_payment_ids, v_invoice_ids, v_changes, v_restored
    from new_rows as added;
  elsif tg_op = 'DELETE' then
    select
      array_agg(gone.payment_id),
      array_agg(gone.invoice_id),
      array_agg(-gone.amount_allocated)
    into v_payment_ids, v_invoice_ids, v_changes
    from old_rows as gone;
  elsif exists (select from new_rows) then -- an `on conflict` that met none brings nothing
    select array_agg(net.payment_id), array_agg(net.invoice_id), array_agg(net.amount)
    into v_payment_ids, v_invoice_ids, v_changes
    from (
      select change.payment_id, change.invoice_id, sum(change.amount) as amount
      from (
        select added.payment_id, added.invoice_id, added.amount_allocated as amount
        from new_rows as added
        union all
        select gone.payment_id, gone.invoice_id, -gone.amount_allocated
        from old_rows as gone
      ) as change
      group by change.payment_id, change.invoice_id
      having sum(change.amount) <> 0
    ) as net;
  end if;

  if v_changes is null then
    return null;
  end if;

  if true = any(v_restored) then
    if current_setting('role', true) in ('anon', 'authenticated', 'service_role') then
      v_restored := null;

      update public.invoice_payments as allocation
      set created_at = now()
      from new_rows as added
      where allocation.id = added.id and added.created_at is distinct from now();
    end if;
  end if;

  v_caller := private.caller(); -- once, not for each row

  -- lock, check, write: first the payments, then the invoices
  perform private.move_amount_applied(v_payment_ids, v_changes);
  perform private.move_amount_paid(v_payment_ids, v_invoice_ids, v_changes);

  insert into private.allocation_journal (
    recorded_by, call_id, payment_id, invoice_id, amount_change, reason
  )
  select
    v_caller,
    nullif(current_setting('pymilk.call_id', true), '')::uuid,
    change.payment_id,
    change.invoice_id,
    change.amount,
    left(nullif(current_setting('pymilk.reason', true), ''), 1000)
  from unnest(v_payment_ids, v_invoice_ids, v_changes, v_restored)
    as change (payment_id, invoice_id, amount, restored)
  where change.payment_id is not null
    and change.invoice_id is not null
    and change.restored is not true;

  return null;
end;
$$;

comment on function private.count_invoice_payments() is
'Trigger: moves the counters of payments and invoices by what changed in invoice_payments.';

revoke all on function private.count_invoice_payments()
from public, anon, authenticated, service_role;
