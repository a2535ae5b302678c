-- Opens the log of a bulk run: called before it, in a transaction of its own, so that the log is there
-- also when the run is refused or its connection is lost (then it stays `running`).
--
-- p_operation: what is run, such as generate_bulk_invoices_atomic; 1 to 100 characters.
-- p_parameters: a JSON object, at most 4 MB.
-- Refusals: PT400 operation_invalid, parameters_invalid
-- Locks: none.

create or replace function public.log_bulk_operation(
  p_operation text,
  p_parameters jsonb default '{}',
  out id uuid,
  out status text,
  out started_by text,
  out started_at timestamptz
)
returns record
language plpgsql
volatile
security definer -- the log is written by the database alone
set search_path = pg_catalog, pg_temp
as $$
begin
  -- check
  if p_operation is null or btrim(p_operation) = '' or length(p_operation) > 100 then
    raise exception using
      errcode = 'PT400',
      message = 'operation_invalid',
      detail = jsonb_build_object('length', length(p_operation), 'longest', 100)::text,
      hint = 'Name the operation that is about to run, in 1 to 100 characters.';
  elsif
    p_parameters is null
    or jsonb_typeof(p_parameters) <> 'object'
    or pg_column_size(p_parameters) > 4194304
  then
    raise exception using
      errcode = 'PT400',
      message = 'parameters_invalid',
      detail = jsonb_build_object(
        'given', coalesce(jsonb_typeof(p_parameters), 'null'),
        'bytes', pg_column_size(p_parameters)
      )::text,
      hint = 'Send the parameters of the run as a JSON object of at most 4 MB.';
  end if;

  -- write
  insert into public.bulk_operation_logs as log (operation, status, parameters, started_by)
  values (p_operation, 'running', p_parameters, private.caller())
  returning log.id, log.status, log.started_by, log.started_at
  into id, status, started_by, started_at;
end;
$$;

comment on function public.log_bulk_operation(text, jsonb) is
'Opens the log of a bulk run; call it before the run, in a transaction of its own.

p_operation: what is run, such as generate_bulk_invoices_atomic
p_parameters {*: jsonb}: what it is run with
status bulk_operation_logs.status
never null: all';

revoke all on function public.log_bulk_operation(text, jsonb)
from public, anon, authenticated, service_role;
grant execute on function public.log_bulk_operation(text, jsonb) to authenticated, service_role;
