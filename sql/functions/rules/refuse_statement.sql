-- Refuses a statement on a table that must not take it: truncating a table whose rows are counted
-- elsewhere, or changing what is only ever appended to.
--
-- Trigger arguments: the rule's name, the message, the hint.
-- Locks: none.

create or replace function private.refuse_statement()
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
    message = tg_argv[1],
    detail = jsonb_build_object('statement', lower(tg_op))::text,
    hint = tg_argv[2];
end;
$$;

comment on function private.refuse_statement() is
'Trigger: refuses (23514) a statement outright. Arguments: rule, message, hint.';

revoke all on function private.refuse_statement() from public, anon, authenticated, service_role;
