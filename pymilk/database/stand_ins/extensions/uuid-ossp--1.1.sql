-- Stand-in of pymilk for uuid-ossp. Versions 3, 4 and 5 are exact; version 1 has a random node.

create function uuid_nil() returns uuid
language sql immutable parallel safe
as $$ select '00000000-0000-0000-0000-000000000000'::uuid $$;

create function uuid_ns_dns() returns uuid
language sql immutable parallel safe
as $$ select '6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid $$;

create function uuid_ns_url() returns uuid
language sql immutable parallel safe
as $$ select '6ba7b811-9dad-11d1-80b4-00c04fd430c8'::uuid $$;

create function uuid_ns_oid() returns uuid
language sql immutable parallel safe
as $$ select '6ba7b812-9dad-11d1-80b4-00c04fd430c8'::uuid $$;

create function uuid_ns_x500() returns uuid
language sql immutable parallel safe
as $$ select '6ba7b814-9dad-11d1-80b4-00c04fd430c8'::uuid $$;

create function uuid_generate_v4() returns uuid
language sql volatile parallel safe
as $$ select pg_catalog.gen_random_uuid() $$;

-- 100 ns since 1582-10-15 in 60 bits, then 14 random bits, then a random node marked as one.
create function uuid_generate_v1() returns uuid
language sql volatile parallel safe
as $$
  with parts as (
    select
      lpad(
        to_hex(
          (extract(epoch from clock_timestamp()) * 10000000)::bigint + 122192928000000000
        ),
        16,
        '0'
      ) as stamp,
      replace(pg_catalog.gen_random_uuid()::text, '-', '') as random
  )
  select (
    substr(p.stamp, 9, 8) || substr(p.stamp, 5, 4) || '1' || substr(p.stamp, 2, 3)
    || substr(p.random, 17, 4)
    || substr('13579bdf', 1 + get_byte(decode(substr(p.random, 1, 2), 'hex'), 0) % 8, 1)
    || substr('13579bdf', 1 + get_byte(decode(substr(p.random, 3, 2), 'hex'), 0) % 8, 1)
    || substr(p.random, 21, 10)
  )::uuid
  from parts as p
$$;

create function uuid_generate_v1mc() returns uuid
language sql volatile parallel safe
as $$ select @extschema@.uuid_generate_v1() $$;

create function uuid_generate_v3(namespace uuid, name text) returns uuid
language sql immutable strict parallel safe
as $$
  select encode(
    set_byte(
      set_byte(h.hash, 6, (get_byte(h.hash, 6) & 15) | 48), 8, (get_byte(h.hash, 8) & 63) | 128
    ),
    'hex'
  )::uuid
  from (select decode(md5(uuid_send(namespace) || convert_to(name, 'UTF8')), 'hex') as hash) as h
$$;

-- The steps of FIPS 180-4; Postgres itself has SHA-2 alone.
create function uuid_stand_in_sha1(message bytea) returns bytea
language plpgsql immutable strict parallel safe
as $$
declare
  c_all constant bigint := 4294967295;
  v_padded bytea := message || '\x80'
    || decode(repeat('00', (119 - length(message) % 64) % 64), 'hex')
    || int8send(length(message)::bigint * 8);
  h bigint[] := array[1732584193, 4023233417, 2562383102, 271733878, 3285377520];
  w bigint[];
  a bigint; b bigint; c bigint; d bigint; e bigint; f bigint; k bigint; t bigint;
begin
  for v_block in 0 .. length(v_padded) / 64 - 1 loop
    for i in 0 .. 15 loop
      w[i] := ('x' || encode(substr(v_padded, v_block * 64 + i * 4 + 1, 4), 'hex'))::bit(32)::bigint;
    end loop;
    for i in 16 .. 79 loop
      t := w[i - 3] # w[i - 8] # w[i - 14] # w[i - 16];
      w[i] := ((t << 1) | (t >> 31)) & c_all;
    end loop;
    a := h[1]; b := h[2]; c := h[3]; d := h[4]; e := h[5];
    for i in 0 .. 79 loop
      if i < 20 then
        f := (b & c) | ((~b & c_all) & d); k := 1518500249;
      elsif i < 40 then
        f := b # c # d; k := 1859775393;
      elsif i < 60 then
        f := (b & c) | (b & d) | (c & d); k := 2400959708;
      else
        f := b # c # d; k := 3395469782;
      end if;
      t := ((((a << 5) | (a >> 27)) & c_all) + f + e + k + w[i]) & c_all;
      e := d; d := c; c := ((b << 30) | (b >> 2)) & c_all; b := a; a := t;
    end loop;
    h := array[
      (h[1] + a) & c_all, (h[2] + b) & c_all, (h[3] + c) & c_all, (h[4] + d) & c_all,
      (h[5] + e) & c_all
    ];
  end loop;
  return decode(
    lpad(to_hex(h[1]), 8, '0') || lpad(to_hex(h[2]), 8, '0') || lpad(to_hex(h[3]), 8, '0')
    || lpad(to_hex(h[4]), 8, '0') || lpad(to_hex(h[5]), 8, '0'),
    'hex'
  );
end;
$$;

create function uuid_generate_v5(namespace uuid, name text) returns uuid
language sql immutable strict parallel safe
as $$
  select encode(
    set_byte(
      set_byte(h.hash, 6, (get_byte(h.hash, 6) & 15) | 80), 8, (get_byte(h.hash, 8) & 63) | 128
    ),
    'hex'
  )::uuid
  from (
    select substr(
      @extschema@.uuid_stand_in_sha1(uuid_send(namespace) || convert_to(name, 'UTF8')), 1, 16
    ) as hash
  ) as h
$$;
