-- Stand-in of pymilk for pgsodium: its keys are rows; what encrypts says that it can't.

create type pgsodium.key_status as enum ('default', 'valid', 'invalid', 'expired');
create type pgsodium.key_type as enum (
  'aead-ietf', 'aead-det', 'hmacsha512', 'hmacsha256', 'auth', 'shorthash', 'generichash', 'kdf',
  'secretbox', 'secretstream', 'stream_xchacha20'
);

create table pgsodium.key (
  id uuid primary key default pg_catalog.gen_random_uuid(),
  status pgsodium.key_status default 'valid',
  created timestamptz not null default current_timestamp,
  expires timestamptz,
  key_type pgsodium.key_type,
  key_id bigserial,
  key_context bytea default '\x7067736f6469756d',
  name text unique,
  associated_data text default 'associated',
  raw_key bytea,
  raw_key_nonce bytea,
  parent_key uuid,
  comment text,
  user_data text
);

create view pgsodium.valid_key as
select
  k.id, k.name, k.status, k.key_type, k.key_id, k.key_context, k.created, k.expires,
  k.associated_data
from pgsodium.key as k
where k.status in ('valid', 'default') and (k.expires is null or k.expires > now());

create function pgsodium.create_key(
  key_type pgsodium.key_type default 'aead-det',
  name text default null,
  raw_key bytea default null,
  raw_key_nonce bytea default null,
  parent_key uuid default null,
  key_context bytea default '\x7067736f6469756d',
  expires timestamptz default null,
  associated_data text default ''
) returns pgsodium.valid_key
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id uuid;
  v_key pgsodium.valid_key;
begin
  insert into pgsodium.key (key_type, name, expires, associated_data)
  values ($1, $2, $7, $8)
  returning id into v_id;
  select k.* into strict v_key from pgsodium.valid_key as k where k.id = v_id;
  return v_key;
end;
$$;

create function pgsodium.randombytes_random() returns integer
language sql volatile
as $$ select (random() * 2147483647)::integer $$;

grant usage on schema pgsodium to postgres, service_role;
grant select on pgsodium.key, pgsodium.valid_key to postgres, service_role;
