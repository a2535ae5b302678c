-- Restores what remember_privileges kept for a migration, and forgets it: for that migration's
-- rollback. Runs as the owner of the objects.
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
    select remembered.kind, remembered.object, remembered.privileges
    from private.privileges_before as remembered
    where remembered.migration = p_migration
    order by remembered.kind, remembered.object
  loop
    for v_grant in
      select distinct held.grantee
      from (
        select proowner as owner, proacl as acl from pg_proc
        where v_object.kind = 'function' and oid = to_regprocedure(v_object.object)
        union all
        select relowner, relacl from pg_class
        where v_object.kind = 'table' and oid = to_regclass(v_object.object)
      ) as target
      cross join lateral aclexplode(
        coalesce(target.acl, acldefault(left(v_object.kind, 1)::"char", target.owner))
      ) as held
      where held.grantee <> target.owner
    loop
      -- dynamic: a grant can't be parameterised; names come from the catalog alone
      execute format(
        'revoke all on %s %s from %s',
        v_object.kind, v_object.object,
        case when v_grant.grantee = 0 then 'public' else v_grant.grantee::regrole::text end
      );
    end loop;

    for v_grant in
      select held.grantee, held.privilege_type, held.is_grantable
      from aclexplode(v_object.privileges) with ordinality as held (
        grantor, grantee, privilege_type, is_grantable, position
      )
      order by held.position
    loop
      execute format(
        'grant %s on %s %s to %s%s',
        v_grant.privilege_type, v_object.kind, v_object.object,
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
