-- What is granted on new objects that the current role makes: where nothing has been said about it,
-- what Postgres grants by itself.
--
-- p_schema: as regnamespace writes it; '' for all schemas.
-- p_kind: tables, sequences or functions.
-- Locks: none.

create or replace function private.default_privileges(p_schema text, p_kind text)
returns aclitem[]
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_kind "char" := (
    case p_kind when 'tables' then 'r' when 'sequences' then 'S' else 'f' end
  )::"char";
  v_owner oid := (select role.oid from pg_roles as role where role.rolname = current_user);
begin
  -- return
  return coalesce(
    (
      select said.defaclacl
      from pg_default_acl as said
      where said.defaclrole = v_owner
        and said.defaclobjtype = v_kind
        and said.defaclnamespace = coalesce(to_regnamespace(nullif(p_schema, ''))::oid, 0)
    ),
    -- what a schema says comes on top of what holds for all of them
    case
      when p_schema <> '' then '{}'
      else acldefault(case v_kind when 'S' then 's' else v_kind end, v_owner)
    end
  );
end;
$$;

comment on function private.default_privileges(text, text) is
'What is granted on new objects of the current role, in a schema or in all of them.';

revoke all on function private.default_privileges(text, text)
from public, anon, authenticated, service_role;
