-- GAP-006: deleting an invoice reverted sales by date range, so it touched other invoices' sales.

-- what the gap adds ------------------------------------------------------------------------------

alter table public.invoice_metadata
add column deleted_at timestamptz,
add column deleted_by text,
add column status_before_deletion text;

alter table public.invoice_line_items add column bills boolean not null default true;

create table public.invoice_sales_mapping (
  id uuid primary key default gen_random_uuid(),
  invoice_id uuid not null,
  sale_id uuid not null,
  mapped_at timestamptz not null default now(),
  released_at timestamptz
);

comment on table public.invoice_sales_mapping is
'Which invoice billed which sale, and until when; kept by the database, it outlives the invoice.';

create table public.audit_trail (
  id bigint generated always as identity primary key,
  at timestamptz not null default now(),
  recorded_by text not null,
  action text not null,
  entity text not null,
  entity_id uuid,
  was jsonb,
  became jsonb,
  reason text,
  call_id uuid
);

comment on table public.audit_trail is
'What happened to payments, invoices and balances, and who did it; only ever appended to.';

alter table public.invoice_sales_mapping enable row level security;
alter table public.audit_trail enable row level security;

create policy "Staff read" on public.invoice_sales_mapping
for select to authenticated using (true);
create policy "Staff read" on public.audit_trail
for select to authenticated using (true);

revoke all on public.invoice_sales_mapping, public.audit_trail
from public, anon, authenticated, service_role;
grant select on public.invoice_sales_mapping, public.audit_trail to authenticated, service_role;
revoke all on sequence public.audit_trail_id_seq from public, anon, authenticated, service_role;

-- functions, quoted from sql/functions ----------------------------------------------------------

-- >>> sql/functions/invoices/check_billing.sql sha256:3c9f1f1dad1cbbece974c0d92da7e9e9b65d7f144c0c02e1fba3010b2aeae65f
-- Every broken invariant of billing, one row each; a part of check_payment_invariants.
--
-- Locks: none. It reads one snapshot.

create or replace function private.check_billing()
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

comment on function private.check_billing() is
'Every broken invariant of billing as a row; none when all is well.';

revoke all on function private.check_billing() from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/check_payment_invariants.sql sha256:bb948aa3d81cf1890b4d3665f4d952b173cba1cf76cd074f49c873f9c171a110
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
  select * from private.check_settlements()
  union all
  select * from private.check_billing();
end;
$$;

comment on function public.check_payment_invariants() is
'Every broken invariant of the books as a row; none when all is well.';

revoke all on function public.check_payment_invariants()
from public, anon, authenticated, service_role;
grant execute on function public.check_payment_invariants() to authenticated, service_role;
-- <<<
