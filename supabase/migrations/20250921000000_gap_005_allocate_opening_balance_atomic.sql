-- GAP-005: two callers both saw the same remaining opening balance and both paid it.

-- what the gap adds ------------------------------------------------------------------------------

alter table public.customers add column opening_balance_paid numeric not null default 0;
alter table public.sales add column amount_paid numeric not null default 0;

create table private.settlement_journal (
  id bigint generated always as identity primary key,
  at timestamptz not null default now(),
  recorded_by text not null,
  call_id uuid,
  payment_id uuid not null,
  customer_id uuid,
  sale_id uuid,
  amount_change numeric not null check (amount_change <> 0),
  reason text,
  check (num_nonnulls(customer_id, sale_id) = 1)
);

comment on table private.settlement_journal is
'Every change of opening_balance_payments (customer_id) and sales_payments (sale_id), appended.';
comment on column private.settlement_journal.amount_change is
'Rupees; negative when money came off.';

create index settlement_journal_payment on private.settlement_journal (payment_id);
create index settlement_journal_call on private.settlement_journal (call_id)
where call_id is not null;

alter table private.settlement_journal enable row level security;
revoke all on private.settlement_journal from public, anon, authenticated, service_role;
revoke all on sequence private.settlement_journal_id_seq
from public, anon, authenticated, service_role;

-- functions, quoted from sql/functions ----------------------------------------------------------

-- >>> sql/functions/allocations/check_settlements.sql sha256:c0dc0eecb5bf8c3da15438fe216e04bc9b6c0b4fa84cb523c5fbb5e70d3fa4fa
-- Every broken invariant of settlements, one row each; a part of check_payment_invariants.
--
-- Locks: none. It reads one snapshot.

create or replace function private.check_settlements()
returns table (
  invariant text,
  entity text,
  entity_id text,
  expected text,
  found text
)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return;
end;
$$;

comment on function private.check_settlements() is
'Every broken invariant of settlements as a row; none when all is well.';

revoke all on function private.check_settlements() from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/check_payment_invariants.sql sha256:9a780cbdd18f81abb74f319b8cf01de296d65778ceb8494ce03c6a77025964a2
-- Every broken invariant of the books, one row each; none when all is well. The same questions as
-- sql/invariants asks from outside, by the same names; each part stands in a function of its own.
--
-- Locks: none. It reads one snapshot.

create or replace function public.check_payment_invariants()
returns table (
  invariant text,
  entity text,
  entity_id text,
  expected text,
  found text
)
language plpgsql
stable
security definer -- to whom row security hides rows, all would seem well
set search_path = pg_catalog, pg_temp
as $$
begin
  -- return
  return query
  select * from private.check_payments()
  union all
  select * from private.check_unapplied_payments()
  union all
  select * from private.check_settlements();
end;
$$;

comment on function public.check_payment_invariants() is
'Every broken invariant of the books as a row; none when all is well.';

revoke all on function public.check_payment_invariants()
from public, anon, authenticated, service_role;
grant execute on function public.check_payment_invariants() to authenticated, service_role;
-- <<<
