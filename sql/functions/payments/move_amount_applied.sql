-- Moves the guarded counter payments.amount_applied by what changed in the allocation tables, and
-- with it everything that follows from it.
--
-- Checks nothing: 0 <= amount_applied <= amount, and a customer for whatever takes more, are rules of
-- the table (see refuse_row). Two writers queue on the row, and the second one's move is measured
-- against the first one's.
--
-- p_changes: rupees, one for each payment id, negative when money comes off; ids may repeat.
-- Locks: payments by id, `for no key update`, one update after the other, before any invoice or sale.

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
  v_move record;
begin
  -- lock and write
  for v_move in
    select change.payment_id, sum(change.amount) as amount
    from unnest(p_payment_ids, p_changes) as change (payment_id, amount)
    group by change.payment_id
    having sum(change.amount) <> 0
    order by change.payment_id
  loop
    update public.payments as payment
    set
      amount_applied = payment.amount_applied + v_move.amount,
      amount_unapplied = payment.amount - (payment.amount_applied + v_move.amount),
      allocation_status = case
        when payment.amount_applied + v_move.amount <= 0 then 'unapplied'
        when payment.amount_applied + v_move.amount < payment.amount then 'partially_applied'
        else 'fully_applied'
      end,
      -- the app's own statements set it themselves; a restore keeps what was
      updated_at = case
        when current_setting('pymilk.call_id', true) <> '' then now()
        else payment.updated_at
      end
    where payment.id = v_move.payment_id;
  end loop;
end;
$$;

comment on function private.move_amount_applied(uuid[], numeric[]) is
'Moves payments.amount_applied, and what follows from it, by what changed in the allocations.';

revoke all on function private.move_amount_applied(uuid[], numeric[])
from public, anon, authenticated, service_role;
