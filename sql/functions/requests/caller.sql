-- Who is asking: the signed-in user (the claim that auth.uid() reads, as text, since not every
-- identity provider gives a uuid), else the role that PostgREST or `set role` took on, else the
-- database user. Inside a security definer function current_user would be the owner.
--
-- Locks: none.

create or replace function private.caller()
returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(
    nullif(nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub', ''),
    nullif(nullif(current_setting('role', true), ''), 'none'),
    session_user::text
  );
end;
$$;

comment on function private.caller() is
'Who is asking: the signed-in user''s id, else the API role, else the database user.';

revoke all on function private.caller() from public, anon, authenticated, service_role;
