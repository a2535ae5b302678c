-- A plain Postgres made to look like a hosted Supabase project, as far as migrations, privileges
-- and the API's roles can see: who owns what, who may do what, and for how long.
--
-- Runs as the superuser supabase_admin, in one transaction, in the database to be shaped. Roles
-- belong to the whole server: they are made when absent and set right when present, so that it
-- can run again in every database of a server. Default privileges come in two variants and are
-- therefore not here: see lookalike.py.

-- Two databases of one server may be shaped at the same time; advisory locks do not reach across.
lock table pg_catalog.pg_authid in share row exclusive mode;

-- ── Roles ───────────────────────────────────────────────────────────────────────────────────────

do $$
declare
  v_name text;
begin
  foreach v_name in array array[
    'postgres', 'anon', 'authenticated', 'service_role', 'authenticator',
    'supabase_auth_admin', 'supabase_storage_admin', 'supabase_realtime_admin',
    'supabase_functions_admin', 'supabase_replication_admin', 'supabase_read_only_user',
    'pgbouncer', 'dashboard_user'
  ]
  loop
    if not exists (select from pg_catalog.pg_roles as r where r.rolname = v_name) then
      execute format('create role %I', v_name);
    end if;
  end loop;
end;
$$;

-- The owner of everything that a project makes, and who migrations run as: not a superuser.
alter role postgres
  login nosuperuser createdb createrole replication bypassrls inherit;
alter role postgres set search_path to "$user", public, extensions;

-- Who requests run as. PostgREST logs in as authenticator, switches to one of the other three for
-- each request, and applies that role's settings itself: SET ROLE alone does not.
alter role anon nologin nosuperuser inherit nobypassrls;
alter role anon set statement_timeout to '3s';
alter role authenticated nologin nosuperuser inherit nobypassrls;
alter role authenticated set statement_timeout to '8s';
alter role service_role nologin nosuperuser inherit bypassrls;
alter role authenticator login nosuperuser noinherit nobypassrls;
alter role authenticator set statement_timeout to '8s';
alter role authenticator set lock_timeout to '8s';

-- The services' own roles.
alter role supabase_auth_admin login nosuperuser noinherit;
alter role supabase_auth_admin set search_path to auth;
alter role supabase_auth_admin set idle_in_transaction_session_timeout to '60000';
alter role supabase_storage_admin login nosuperuser noinherit;
alter role supabase_storage_admin set search_path to storage;
alter role supabase_realtime_admin nologin nosuperuser noinherit;
alter role supabase_functions_admin login nosuperuser noinherit createrole;
alter role supabase_replication_admin login nosuperuser replication;
alter role supabase_read_only_user login nosuperuser bypassrls;
alter role pgbouncer login nosuperuser;
alter role dashboard_user nologin nosuperuser createdb createrole replication;

grant anon, authenticated, service_role to authenticator;
grant authenticator to supabase_storage_admin;

-- With the admin option from 16 on, where creating a role no longer implies it.
grant anon, authenticated, service_role, authenticator, pg_monitor, pg_read_all_data,
  pg_signal_backend to postgres with admin option;

-- Who owns the platform's tables: so postgres puts triggers on auth.users, policies on
-- storage.objects. Hosted projects get there by other means of their own.
grant supabase_auth_admin, supabase_storage_admin, supabase_realtime_admin,
  supabase_functions_admin to postgres;
grant pg_read_all_data to supabase_read_only_user;

-- ── The database and its schemas ────────────────────────────────────────────────────────────────

do $$
begin
  execute format('alter database %I owner to postgres', current_database());
  execute format('grant all on database %I to postgres, dashboard_user', current_database());
end;
$$;

-- public belongs to the database's owner, as it does since Postgres 15.
alter schema public owner to pg_database_owner;
grant usage on schema public to postgres, anon, authenticated, service_role;

create schema if not exists extensions;
alter schema extensions owner to postgres;
grant usage on schema extensions to anon, authenticated, service_role;
grant all on schema extensions to dashboard_user;

create schema if not exists graphql_public authorization supabase_admin;
grant usage on schema graphql_public to postgres, anon, authenticated, service_role;

create schema if not exists auth;
alter schema auth owner to supabase_admin;
grant usage on schema auth to anon, authenticated, service_role, postgres;
grant all on schema auth to dashboard_user;
-- Not create: postgres is a member, and makes nothing in the services' schemas on hosted projects.
grant usage on schema auth to supabase_auth_admin;

-- ── Who is asking: the claims of the request's token ────────────────────────────────────────────

-- An unset setting is null in a new session and '' after any transaction that had set it.
create or replace function auth.jwt()
returns jsonb
language sql
stable
as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')
  )::jsonb
$$;

create or replace function auth.uid()
returns uuid
language sql
stable
as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim.sub', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
  )::uuid
$$;

create or replace function auth.role()
returns text
language sql
stable
as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim.role', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role'
  )
$$;

create or replace function auth.email()
returns text
language sql
stable
as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim.email', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'email'
  )
$$;

alter function auth.jwt() owner to supabase_auth_admin;
alter function auth.uid() owner to supabase_auth_admin;
alter function auth.role() owner to supabase_auth_admin;
alter function auth.email() owner to supabase_auth_admin;

-- ── PostgREST hears of changes to the schema: of DDL, not of grants ─────────────────────────────

create or replace function extensions.pgrst_ddl_watch()
returns event_trigger
language plpgsql
as $$
begin
  if exists (
    select
    from pg_catalog.pg_event_trigger_ddl_commands() as c
    where
      c.command_tag in (
        'CREATE SCHEMA', 'ALTER SCHEMA', 'CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO',
        'ALTER TABLE', 'CREATE FOREIGN TABLE', 'ALTER FOREIGN TABLE', 'CREATE VIEW',
        'ALTER VIEW', 'CREATE MATERIALIZED VIEW', 'ALTER MATERIALIZED VIEW', 'CREATE FUNCTION',
        'ALTER FUNCTION', 'CREATE TRIGGER', 'CREATE TYPE', 'ALTER TYPE', 'CREATE RULE', 'COMMENT'
      )
      -- Neither what is temporary (a trigger shows it in its identity alone) nor the platform's.
      and coalesce(c.schema_name, '') not in ('pg_temp', 'auth', 'realtime', 'storage')
      and c.object_identity not like '% on pg\_temp.%'
  ) then
    notify pgrst, 'reload schema';
  end if;
end;
$$;

create or replace function extensions.pgrst_drop_watch()
returns event_trigger
language plpgsql
as $$
begin
  if exists (
    select
    from pg_catalog.pg_event_trigger_dropped_objects() as d
    where
      d.object_type in (
        'schema', 'table', 'foreign table', 'view', 'materialized view', 'function', 'trigger',
        'type', 'rule'
      )
      and not d.is_temporary
      and coalesce(d.schema_name, '') not in ('auth', 'realtime', 'storage')
      and d.object_identity not like '% on pg\_temp.%'
  ) then
    notify pgrst, 'reload schema';
  end if;
end;
$$;

alter function extensions.pgrst_ddl_watch() owner to supabase_admin;
alter function extensions.pgrst_drop_watch() owner to supabase_admin;

drop event trigger if exists pgrst_ddl_watch;
create event trigger pgrst_ddl_watch on ddl_command_end
execute function extensions.pgrst_ddl_watch();

drop event trigger if exists pgrst_drop_watch;
create event trigger pgrst_drop_watch on sql_drop
execute function extensions.pgrst_drop_watch();
