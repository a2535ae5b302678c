-- GAP-007: bulk invoicing went on after individual failures and left a half-made month.

-- what the gap adds ------------------------------------------------------------------------------

create table public.bulk_operation_logs (
  id uuid primary key default gen_random_uuid(),
  operation text not null,
  status text not null check (status in ('running', 'completed', 'failed')),
  parameters jsonb not null default '{}',
  outcomes jsonb not null default '[]',
  succeeded integer,
  failed integer,
  error text,
  started_by text not null,
  started_at timestamptz not null default now(),
  finished_at timestamptz
);

comment on table public.bulk_operation_logs is
'One row a bulk run, with the outcome of each customer; it is there also when the run failed.';

alter table public.bulk_operation_logs enable row level security;

create policy "Staff read" on public.bulk_operation_logs
for select to authenticated using (true);

revoke all on public.bulk_operation_logs from public, anon, authenticated, service_role;
grant select on public.bulk_operation_logs to authenticated, service_role;

-- functions, quoted from sql/functions ----------------------------------------------------------
