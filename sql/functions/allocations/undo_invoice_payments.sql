-- Takes off the invoices what one call put there, or, without a call, what direct writes put there
-- in the last 15 minutes; by the journal, and never more than is still there of it.
--
-- A pair's row may hold money of several calls and of direct writes. Its present life begins where
-- its journal last came to zero; what was taken off since is not known to belong to anybody, so what
-- the others put there stays in full, and only the rest of the row can come off. A row that is older
-- than 15 minutes is nothing that a half-done series of direct writes left behind.
--
-- Locks: the caller holds the payment and its invoices.

create or replace function private.undo_invoice_payments(
  p_payment_id uuid,
  p_call_id uuid,
  out affected_invoices integer,
  out removed_amount numeric
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids uuid[];
  v_amounts numeric[];
begin
  -- check
  with entry as (
    select
      allocation.id as allocation_id,
      allocation.amount_allocated as held,
      journal.id,
      journal.amount_change,
      case
        when p_call_id is not null then journal.call_id is not distinct from p_call_id
        else journal.call_id is null
          and journal.at > now() - interval '15 minutes'
          and allocation.created_at > now() - interval '15 minutes'
      end as named,
      journal.call_id,
      allocation.amount_allocated - coalesce(
        sum(journal.amount_change) over (
          partition by allocation.id
          order by journal.id
          rows between 1 following and unbounded following
        ), 0
      ) as held_after
    from public.invoice_payments as allocation
    inner join private.allocation_journal as journal
      on allocation.payment_id = journal.payment_id
      and allocation.invoice_id = journal.invoice_id
    where allocation.payment_id = p_payment_id
      and allocation.amount_allocated < 10000000000 -- which NaN is not
  ),

  life as (
    select
      entry.*,
      max(entry.id) filter (where entry.held_after <= 0)
        over (partition by entry.allocation_id) as ended
    from entry
  ),

  source as (
    select
      life.allocation_id,
      life.held,
      life.named,
      sum(life.amount_change) as amount
    from life
    where life.id > coalesce(life.ended, 0)
    group by life.allocation_id, life.held, life.named, life.call_id
  ),

  part as (
    select
      source.allocation_id,
      coalesce(sum(source.amount) filter (where source.named), 0) as named,
      source.held
      - greatest(source.held - sum(source.amount), 0) -- held before the journal began
      - coalesce(sum(source.amount) filter (where not source.named and source.amount > 0), 0)
        as rest
    from source
    group by source.allocation_id, source.held
  )

  select
    array_agg(part.allocation_id),
    array_agg(least(part.named, part.rest))
  into v_ids, v_amounts
  from part
  where least(part.named, part.rest) > 0;

  -- write
  delete from public.invoice_payments as allocation
  using unnest(v_ids, v_amounts) as undone (id, amount)
  where allocation.id = undone.id and allocation.amount_allocated = undone.amount;

  update public.invoice_payments as allocation
  set amount_allocated = allocation.amount_allocated - undone.amount, updated_at = now()
  from unnest(v_ids, v_amounts) as undone (id, amount)
  where allocation.id = undone.id;

  -- return
  select count(*)::integer, coalesce(sum(undone.amount), 0)
  into affected_invoices, removed_amount
  from unnest(v_amounts) as undone (amount);
end;
$$;

comment on function private.undo_invoice_payments(uuid, uuid) is
'Takes off the invoices what one call, or the direct writes of the last minutes, put there.';

revoke all on function private.undo_invoice_payments(uuid, uuid)
from public, anon, authenticated, service_role;
