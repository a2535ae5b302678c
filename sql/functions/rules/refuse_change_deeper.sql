-- Refuses (0A000) what the owner writes inside of a trigger of the project's own where the rules can't
-- tell it from what the database itself writes there; the trigger's WHEN clause says what.
--
-- Locks: none.

create or replace function private.refuse_change_deeper()
returns trigger
language plpgsql
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception using
    errcode = 'feature_not_supported',
    schema = tg_table_schema,
    table = tg_table_name,
    message = 'lines are not changed inside of a trigger that runs as the owner',
    detail = jsonb_build_object('id', old.id, 'invoice_id', old.invoice_id)::text,
    hint = 'Delete the line and write another, or let the trigger function be security invoker.';
end;
$$;

comment on function private.refuse_change_deeper() is
'Trigger: refuses (0A000) to change lines inside of a trigger that runs as the owner.';

revoke all on function private.refuse_change_deeper()
from public, anon, authenticated, service_role;
