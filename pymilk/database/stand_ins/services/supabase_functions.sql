-- Stand-in for database webhooks: the trigger function is there, and sends nothing.

create schema if not exists supabase_functions authorization supabase_admin;
grant usage on schema supabase_functions to postgres, anon, authenticated, service_role;
grant usage, create on schema supabase_functions to supabase_functions_admin;
set local role supabase_functions_admin;

create table supabase_functions.hooks (
  id bigserial primary key,
  hook_table_id integer not null,
  hook_name text not null,
  created_at timestamptz not null default now(),
  request_id bigint
);

create function supabase_functions.http_request() returns trigger
language plpgsql
as $$
begin
  if tg_nargs < 2 then
    raise exception 'http_request: url and method are needed';
  end if;
  insert into supabase_functions.hooks (hook_table_id, hook_name) values (tg_relid, tg_name);
  return case when tg_op = 'DELETE' then old else new end;
end;
$$;
alter function supabase_functions.http_request() security definer;
alter function supabase_functions.http_request() set search_path = supabase_functions, pg_temp;

reset role;
revoke create on schema supabase_functions from supabase_functions_admin;
