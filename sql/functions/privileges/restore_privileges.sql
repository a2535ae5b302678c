-- Restores what remember_privileges and remember_default_privileges kept for a migration, and
-- forgets it: for that migration's rollback. Runs as the owner of the objects. What has been
-- dropped meanwhile is left alone.
--
-- Everything is taken back first, from the owner as well, and then granted in the order that was.
--
-- Locks: the catalog rows of the objects.

create or replace function private.restore_privileges(p_migration text)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_object record;
  v_grant record;
begin
  -- write
  for v_object in
    select
      case remembered.kind
        when 'default' then format(
          'alter default privileges %s',
          case when remembered.object <> '' then 'in schema ' || remembered.object || ' ' end
        )
        else ''
      end as prefix,
      case remembered.kind when 'column' then format(' (%I)', remembered.part) end as part,
      case remembered.kind
        when 'default' then remembered.part
        when 'column' then 'table ' || remembered.object
        else remembered.kind || ' ' || remembered.object
      end as name,
      remembered.privileges,
      present.privileges as privileges_now
    from private.privileges_before as remembered
    inner join lateral (
      select coalesce(found.proacl, acldefault('f', found.proowner)) as privileges
      from pg_proc as found
      where remembered.kind = 'function' and found.oid = to_regprocedure(remembered.object)
      union all
      select coalesce(found.relacl, acldefault('r', found.relowner))
      from pg_class as found
      where remembered.kind = 'table' and found.oid = to_regclass(remembered.object)
      union all
      select found.attacl
      from pg_attribute as found
      where remembered.kind = 'column'
        and found.attrelid = to_regclass(remembered.object)
        and found.attname = remembered.part
        and not found.attisdropped
      union all
      select private.default_privileges(remembered.object, remembered.part)
      where remembered.kind = 'default'
    ) as present on true
    where remembered.migration = p_migration
    -- a column after its table, from which everything is taken
    order by remembered.kind = 'column', remembered.kind, remembered.object, remembered.part
  loop
    -- dynamic: a grant can't be parameterised; names come from the catalog alone
    for v_grant in
      select distinct held.grantee
      from aclexplode(nullif(v_object.privileges_now, '{}')) as held
    loop
      execute format(
        '%srevoke all%s on %s from %s',
        v_object.prefix, v_object.part, v_object.name,
        case when v_grant.grantee = 0 then 'public' else v_grant.grantee::regrole::text end
      );
    end loop;

    for v_grant in
      select held.grantee, held.privilege_type, held.is_grantable
      from aclexplode(nullif(v_object.privileges, '{}')) with ordinality as held (
        grantor, grantee, privilege_type, is_grantable, position
      )
      order by held.position
    loop
      execute format(
        '%sgrant %s%s on %s to %s%s',
        v_object.prefix, v_grant.privilege_type, v_object.part, v_object.name,
        case when v_grant.grantee = 0 then 'public' else v_grant.grantee::regrole::text end,
        case when v_grant.is_grantable then ' with grant option' else '' end
      );
    end loop;
  end loop;

  delete from private.privileges_before as remembered
  where remembered.migration = p_migration;
end;
$$;

comment on function private.restore_privileges(text) is
'Restores the privileges that remember_privileges kept for a migration; for its rollback.';

revoke all on function private.restore_privileges(text)
from public, anon, authenticated, service_role;
