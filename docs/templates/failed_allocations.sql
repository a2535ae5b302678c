-- What clients report of calls that failed. A refusal rolls back all that its call wrote, so whoever
-- was refused writes it down apart, by a call of its own: the Python client with
-- Client.…(reporting=Reporting()), the app with rpc('report_failed_allocation', …).
--
-- A migration to copy (pymilk new failed_allocations), to be deployed after harden_access. Its rollback:
--   drop function public.report_failed_allocation(text, text, uuid, text, jsonb);
--   drop table public.failed_allocations;
--
-- Locks: none of any table that was there before.

create table public.failed_allocations (
  id bigint generated always as identity primary key,
  failed_at timestamptz not null default clock_timestamp(),
  function_name text not null,
  reason text not null,
  payment_id uuid, -- no foreign key: what failed may have named a payment that isn't there
  idempotency_key text,
  detail jsonb not null default '{}',
  reported_by text not null
);

comment on table public.failed_allocations is
'Calls that failed, as their clients report them. Best effort: not every failure is here.';

create index failed_allocations_by_time on public.failed_allocations (failed_at);

alter table public.failed_allocations enable row level security;

create policy "Staff reads" on public.failed_allocations
for select to authenticated using (true);

revoke all on table public.failed_allocations from public, anon, authenticated, service_role;
grant select on table public.failed_allocations to authenticated, service_role;

create function public.report_failed_allocation(
  p_function text,
  p_reason text,
  p_payment_id uuid default null,
  p_key text default null,
  p_detail jsonb default '{}'
)
returns void
language sql
volatile
security definer -- a report says who makes it, and nobody changes one
set search_path = pg_catalog, pg_temp
begin atomic
  insert into public.failed_allocations (
    function_name, reason, payment_id, idempotency_key, detail, reported_by
  )
  values (
    left(coalesce(p_function, ''), 100),
    left(coalesce(p_reason, ''), 100),
    p_payment_id,
    left(p_key, 200),
    -- a report is a few facts; what is longer tells how long it was
    case
      when pg_column_size(p_detail) <= 8192 then coalesce(p_detail, '{}')
      else jsonb_build_object('bytes', pg_column_size(p_detail))
    end,
    private.caller()
  );
end;

comment on function public.report_failed_allocation(text, text, uuid, text, jsonb) is
'Writes down that a call failed, in a transaction of its own.';

revoke all on function public.report_failed_allocation(text, text, uuid, text, jsonb)
from public, anon, authenticated, service_role;
grant execute on function public.report_failed_allocation(text, text, uuid, text, jsonb)
to authenticated, service_role;
