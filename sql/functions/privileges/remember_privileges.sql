-- Remembers who may use functions and tables that a migration is about to grant or revoke anew,
-- although it did not make them: which privileges were there differs from project to project.
-- A table's columns are remembered with it, since revoking from the table takes theirs as well.
--
-- Refused is an object whose privileges its owner could not restore exactly: one on which somebody
-- else has granted something.
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
declare
  v_object text;
begin
  -- write
  insert into private.privileges_before (migration, kind, object, part, privileges)
  select
    p_migration,
    'function',
    found.oid::regprocedure::text,
    '',
    coalesce(found.proacl, acldefault('f', found.proowner))
  from pg_proc as found
  where found.oid = any(p_functions)
  union all
  select
    p_migration,
    'table',
    found.oid::regclass::text,
    '',
    coalesce(found.relacl, acldefault('r', found.relowner))
  from pg_class as found
  where found.oid = any(p_tables)
  union all
  select p_migration, 'column', found.attrelid::regclass::text, found.attname, found.attacl
  from pg_attribute as found
  where found.attrelid = any(p_tables) and found.attacl is not null and not found.attisdropped;

  -- check
  select remembered.object into v_object
  from private.privileges_before as remembered
  cross join lateral aclexplode(nullif(remembered.privileges, '{}')) as held
  where remembered.migration = p_migration
    and held.grantor <> (select role.oid from pg_roles as role where role.rolname = current_user)
  order by remembered.object
  limit 1;

  if found then
    raise exception using
      errcode = '0LP01',
      message = format(
        'privileges on %s were granted by another role than %s', v_object, current_user
      ),
      hint = 'A rollback could not restore them exactly; grant them as the owner instead.';
  end if;
end;
$$;

comment on function private.remember_privileges(text, regprocedure[], regclass[]) is
'Remembers the privileges of functions and tables that a migration changes without making them.';

revoke all on function private.remember_privileges(text, regprocedure[], regclass[])
from public, anon, authenticated, service_role;
