-- Stand-in of pymilk for pg_tle: there, and refusing. What it installs is code from elsewhere.

create function pgtle.install_extension(
  name text, version text, description text, ext text, requires text[] default null
) returns boolean
language plpgsql
as $$
begin
  raise exception 'the stand-in of pg_tle installs no extension: %', name
    using errcode = '0A000', hint = 'Rehearse on a copy with the real extension.';
end;
$$;

create function pgtle.uninstall_extension(extname text) returns boolean
language sql
as $$ select false $$;

create function pgtle.uninstall_extension_if_exists(extname text) returns boolean
language sql
as $$ select false $$;

create function pgtle.available_extensions(
  out name name, out default_version text, out comment text
) returns setof record
language sql
as $$ select null::name, null::text, null::text where false $$;

grant usage on schema pgtle to postgres;
