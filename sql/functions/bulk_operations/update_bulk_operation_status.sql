-- Says in the log of a bulk run how it went: called after it, in a transaction of its own.
--
-- A log that is finished stays as it is; the same said again, after a lost answer, changes nothing.
-- The counts follow from the outcomes: `invoiced` and `deleted` succeeded, any other failed.
--
-- p_status: running (with what there is so far), completed or failed.
-- p_outcomes: as the run answered them, a list of objects with an outcome each; null keeps them.
-- Refusals:
--   PT400 status_invalid, outcomes_invalid
--   PT404 bulk_operation_not_found
--   PT409 bulk_operation_finished
-- Locks: the log's row.

create or replace function public.update_bulk_operation_status(
  p_id uuid,
  p_status text,
  p_outcomes jsonb default null,
  p_error text default null,
  out id uuid,
  out status text,
  out succeeded integer,
  out failed integer,
  out finished_at timestamptz
)
returns record
language plpgsql
volatile
security definer -- the log is written by the database alone
set search_path = pg_catalog, pg_temp
as $$
declare
  v_log public.bulk_operation_logs;
begin
  if p_status is null or p_status not in ('running', 'completed', 'failed') then
    raise exception using
      errcode = 'PT400',
      message = 'status_invalid',
      detail = jsonb_build_object('given', left(p_status, 100))::text,
      hint = 'A run is running, completed or failed.';
  elsif
    p_outcomes is not null
    and (
      jsonb_typeof(p_outcomes) <> 'array'
      or pg_column_size(p_outcomes) > 67108864
      or jsonb_path_exists(p_outcomes, 'strict $[*] ? (@.type() != "object")')
    )
  then
    raise exception using
      errcode = 'PT400',
      message = 'outcomes_invalid',
      detail = jsonb_build_object(
        'given', jsonb_typeof(p_outcomes), 'bytes', pg_column_size(p_outcomes)
      )::text,
      hint = 'Send the outcomes of the run as a list of objects, at most 64 MB.';
  end if;

  -- lock
  select log.* into v_log
  from public.bulk_operation_logs as log
  where log.id = p_id
  for no key update;

  -- check
  if not found then
    raise exception using
      errcode = 'PT404',
      message = 'bulk_operation_not_found',
      detail = jsonb_build_object('id', p_id)::text,
      hint = 'Open the log with log_bulk_operation before the run.';
  elsif
    v_log.status <> 'running'
    and (
      v_log.status <> p_status
      or v_log.outcomes <> coalesce(p_outcomes, v_log.outcomes)
      or v_log.error is distinct from coalesce(p_error, v_log.error)
    )
  then
    raise exception using
      errcode = 'PT409',
      message = 'bulk_operation_finished',
      detail = jsonb_build_object(
        'id', p_id, 'status', v_log.status, 'finished_at', v_log.finished_at
      )::text,
      hint = 'The log of a finished run stays as it is; open another one for another run.';
  end if;

  -- write
  update public.bulk_operation_logs as log
  set
    status = p_status,
    outcomes = coalesce(p_outcomes, log.outcomes),
    error = coalesce(p_error, log.error),
    succeeded = counted.succeeded,
    failed = counted.failed,
    finished_at = case when p_status <> 'running' then coalesce(log.finished_at, now()) end
  from (
    select
      count(*) filter (where line.value ->> 'outcome' in ('invoiced', 'deleted')) as succeeded,
      count(*) filter (
        where line.value ->> 'outcome' not in ('invoiced', 'deleted')
      ) as failed
    from jsonb_array_elements(coalesce(p_outcomes, v_log.outcomes)) as line (value)
  ) as counted
  where log.id = p_id
  -- return
  returning log.id, log.status, log.succeeded, log.failed, log.finished_at
  into id, status, succeeded, failed, finished_at;
end;
$$;

comment on function public.update_bulk_operation_status(uuid, text, jsonb, text) is
'Says in the log of a bulk run how it went; a log that is finished stays as it is.

p_status bulk_operation_logs.status
p_outcomes [jsonb] | null: as the run answered them; null keeps those that are there
p_error text | null: what it failed with
status bulk_operation_logs.status
never null: id, status';

revoke all on function public.update_bulk_operation_status(uuid, text, jsonb, text)
from public, anon, authenticated, service_role;
grant execute on function public.update_bulk_operation_status(uuid, text, jsonb, text)
to authenticated, service_role;
