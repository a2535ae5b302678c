-- Refuses the row that a rule's trigger found.
--
-- The rule itself stands in the trigger's WHEN clause, for columns that are written seldom. A CHECK
-- constraint would also fire on every update of an old offending row, whatever the column; the WHEN
-- clause compares with the old row, so the app can go on touching such rows elsewhere.
--
-- Trigger arguments: the rule's name, the column, the message, the hint; further columns to tell of.
-- Locks: none.

create or replace function private.refuse_row()
returns trigger
language plpgsql
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception using
    errcode = 'check_violation',
    schema = tg_table_schema,
    table = tg_table_name,
    constraint = tg_argv[0],
    column = tg_argv[1],
    message = tg_argv[2],
    detail = (
      select jsonb_object_agg(told.name, to_jsonb(new) -> told.name)
      from unnest(array['id', tg_argv[1]] || tg_argv[4:]) as told (name)
    )::text,
    hint = tg_argv[3];
end;
$$;

comment on function private.refuse_row() is
'Trigger: refuses (23514) the row its WHEN clause found. Arguments: rule, column, message, hint, '
'further columns.';

revoke all on function private.refuse_row() from public, anon, authenticated, service_role;
