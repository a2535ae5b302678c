-- Remembers who may use functions and tables that a migration is about to grant or revoke anew,
-- although it did not make them: which privileges were there differs from project to project.
--
-- p_functions, p_tables: as regprocedure and regclass write them.
-- Locks: none.

create or replace function private.remember_privileges(
  p_migration text,
  p_functions regprocedure[],
  p_tables regclass[] default '{}'
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- write
  insert into private.privileges_before (migration, kind, object, privileges)
  select
    p_migration,
    'function',
    found.oid::regprocedure::text,
    coalesce(found.proacl, acldefault('f', found.proowner))
  from pg_proc as found
  where found.oid = any(p_functions)
  union all
  select
    p_migration,
    'table',
    found.oid::regclass::text,
    coalesce(found.relacl, acldefault('r', found.relowner))
  from pg_class as found
  where found.oid = any(p_tables);
end;
$$;

comment on function private.remember_privileges(text, regprocedure[], regclass[]) is
'Remembers the privileges of functions and tables that a migration changes without making them.';

revoke all on function private.remember_privileges(text, regprocedure[], regclass[])
from public, anon, authenticated, service_role;
