-- Remembers what is granted on new objects of the current role, in a schema or in all of them, for
-- a migration that is about to change it: it differs from project to project.
--
-- p_schema: as regnamespace writes it; '' for all schemas.
-- p_kinds: of tables, sequences, functions.
-- Locks: none.

create or replace function private.remember_default_privileges(
  p_migration text,
  p_schema text,
  p_kinds text[]
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- write
  insert into private.privileges_before (migration, kind, object, part, privileges)
  select
    p_migration,
    'default',
    p_schema,
    named.kind,
    private.default_privileges(p_schema, named.kind)
  from unnest(p_kinds) as named (kind);
end;
$$;

comment on function private.remember_default_privileges(text, text, text[]) is
'Remembers what is granted on new objects of the current role, for a migration that changes it.';

revoke all on function private.remember_default_privileges(text, text, text[])
from public, anon, authenticated, service_role;
