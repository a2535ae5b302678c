-- Takes off the opening balance and the sales what one call put there, or, without a call, what
-- direct writes put there in the last 15 minutes; by the journal, and never more than is still there
-- of it. The same reckoning as undo_invoice_payments.
--
-- A pair's row may hold money of several calls and of direct writes. Its present life begins where
-- its journal last came to zero; what was taken off since is not known to belong to anybody, so what
-- the others put there stays in full, and only the rest of the row can come off.
--
-- Locks: the caller holds the customer, the payment and its sales.

create or replace function private.undo_settlements(
  p_payment_id uuid,
  p_call_id uuid,
  out removed_amount numeric
)
returns numeric
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
  with allocation as (
    select paid.id, paid.customer_id, null::uuid as sale_id, paid.amount as held, paid.created_at
    from public.opening_balance_payments as paid
    where paid.payment_id = p_payment_id
    union all
    select paid.id, null, paid.sales_id, paid.amount_allocated, paid.created_at
    from public.sales_payments as paid
    where paid.payment_id = p_payment_id
  ),

  entry as (
    select
      allocation.id as allocation_id,
      allocation.held,
      journal.id,
      journal.amount_change,
      case
        when p_call_id is not null then journal.call_id is not distinct from p_call_id
        else journal.call_id is null
          and journal.at > now() - interval '15 minutes'
          and allocation.created_at > now() - interval '15 minutes'
      end as named,
      journal.call_id,
      allocation.held - coalesce(
        sum(journal.amount_change) over (
          partition by allocation.id
          order by journal.id
          rows between 1 following and unbounded following
        ), 0
      ) as held_after
    from allocation
    inner join private.settlement_journal as journal
      on journal.payment_id = p_payment_id
      and (journal.customer_id = allocation.customer_id or journal.sale_id = allocation.sale_id)
    where allocation.held < 10000000000 -- which NaN is not
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
    array_agg(least(part.named, part.rest)),
    coalesce(sum(least(part.named, part.rest)), 0)
  into v_ids, v_amounts, removed_amount
  from part
  where least(part.named, part.rest) > 0;

  if v_ids is null then
    return;
  end if;

  -- write
  delete from public.opening_balance_payments as allocation
  using unnest(v_ids, v_amounts) as undone (id, amount)
  where allocation.id = undone.id and allocation.amount = undone.amount;

  update public.opening_balance_payments as allocation
  set amount = allocation.amount - undone.amount, updated_at = now()
  from unnest(v_ids, v_amounts) as undone (id, amount)
  where allocation.id = undone.id;

  delete from public.sales_payments as allocation
  using unnest(v_ids, v_amounts) as undone (id, amount)
  where allocation.id = undone.id and allocation.amount_allocated = undone.amount;

  update public.sales_payments as allocation
  set amount_allocated = allocation.amount_allocated - undone.amount, updated_at = now()
  from unnest(v_ids, v_amounts) as undone (id, amount)
  where allocation.id = undone.id;
end;
$$;

comment on function private.undo_settlements(uuid, uuid) is
'Takes off opening balance and sales what one call, or recent direct writes, put there.';

revoke all on function private.undo_settlements(uuid, uuid)
from public, anon, authenticated, service_role;
