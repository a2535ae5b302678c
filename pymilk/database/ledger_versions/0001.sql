-- pymilk's own ledger. Supabase's history says which migrations are applied; this says who applied
-- them, when, on what proof, and what the schema was before and after. Rows are only ever added.
create schema if not exists pymilk;
comment on schema pymilk is 'The deploy ledger of pymilk. Not exposed to the API.';
revoke all on schema pymilk from public;

create table if not exists pymilk.catalogs (
  fingerprint text primary key,
  objects jsonb not null,
  recorded_at timestamptz not null default clock_timestamp()
);
comment on table pymilk.catalogs is
  'Schemas as they were at some moment, by fingerprint: object name to definition.';

create table if not exists pymilk.events (
  id bigint generated always as identity primary key,
  token uuid not null unique,
  kind text not null
  check (kind in ('adopt', 'backup', 'restore-test', 'rehearsal', 'deploy', 'rollback', 'note')),
  version text,
  name text,
  happened_at timestamptz not null default clock_timestamp(),
  person text not null,
  database_role text not null default current_user,
  revision text,
  checksum text,
  catalog_before text references pymilk.catalogs (fingerprint),
  catalog_after text references pymilk.catalogs (fingerprint),
  evidence jsonb not null
);
comment on table pymilk.events is
  'What pymilk did to this database, in order. Append-only: a correction is a further row.';
comment on column pymilk.events.token is
  'Made by the tool beforehand: after a lost connection it tells whether the event happened.';
create index if not exists events_by_version on pymilk.events (version, id);

-- Rows that a rollback had to take away, kept so that the next deploy can give them back.
create schema if not exists pymilk_archive;
comment on schema pymilk_archive is 'Rows that rollbacks took away. Not exposed to the API.';
revoke all on schema pymilk_archive from public;

create table if not exists pymilk.archives (
  id bigint generated always as identity primary key,
  version text not null,
  kind text not null check (kind in ('table', 'column', 'changed')),
  schema_name text not null,
  table_name text not null,
  column_names text[] not null,
  key_columns text[] not null,
  archive_name text not null unique,
  row_count bigint not null,
  archived_at timestamptz not null default clock_timestamp(),
  given_back_at timestamptz
);
comment on table pymilk.archives is
  'What lies in pymilk_archive: of which migration, from where, and whether it was given back.';

create or replace function pymilk.refuse_change() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception using
    errcode = '55000',
    message = 'the ledger is append-only',
    hint = 'Add a further row that says what was wrong.';
end;
$$;
revoke all on function pymilk.refuse_change() from public;

create or replace trigger append_only before update or delete on pymilk.events
for each row execute function pymilk.refuse_change();
create or replace trigger append_only_whole before truncate on pymilk.events
for each statement execute function pymilk.refuse_change();
create or replace trigger append_only before update or delete on pymilk.catalogs
for each row execute function pymilk.refuse_change();

revoke all on all tables in schema pymilk from public;
