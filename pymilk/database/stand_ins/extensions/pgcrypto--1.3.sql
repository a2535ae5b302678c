-- Stand-in of pymilk for pgcrypto. What is computed is what pgcrypto computes, but for crypt():
-- its hashes carry a mark of ours, and it knows no others. What can't be had in plain SQL is there
-- to be named in other functions, and says so when it is called.

create function pgcrypto_stand_in_refuses(p_what text) returns void
language plpgsql immutable
as $$
begin
  raise exception 'the stand-in of pgcrypto has no %', p_what
    using errcode = '0A000', hint = 'Rehearse on a copy with the real extension.';
end;
$$;

create function gen_random_uuid() returns uuid
language sql volatile parallel safe
as $$ select pg_catalog.gen_random_uuid() $$;

create function gen_random_bytes(integer) returns bytea
language plpgsql volatile strict parallel safe
as $$
declare
  v_bytes bytea := '';
begin
  if $1 not between 1 and 1024 then
    raise exception 'Length not in range' using errcode = '39000';
  end if;
  while length(v_bytes) < $1 loop
    v_bytes := v_bytes || sha256(
      uuid_send(pg_catalog.gen_random_uuid()) || uuid_send(pg_catalog.gen_random_uuid())
      || uuid_send(pg_catalog.gen_random_uuid())
    );
  end loop;
  return substr(v_bytes, 1, $1);
end;
$$;

-- The steps of FIPS 180-4; Postgres itself has SHA-2 alone.
create function pgcrypto_stand_in_sha1(message bytea) returns bytea
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

create function digest(bytea, text) returns bytea
language plpgsql immutable strict parallel safe
as $$
begin
  case lower($2)
    when 'md5' then return decode(md5($1), 'hex');
    when 'sha1' then return @extschema@.pgcrypto_stand_in_sha1($1);
    when 'sha224' then return sha224($1);
    when 'sha256' then return sha256($1);
    when 'sha384' then return sha384($1);
    when 'sha512' then return sha512($1);
    else
      raise exception 'Cannot use "%": No such hash algorithm', $2 using errcode = '22023';
  end case;
end;
$$;

create function digest(text, text) returns bytea
language sql immutable strict parallel safe
as $$ select @extschema@.digest(convert_to($1, 'UTF8'), $2) $$;

create function hmac(bytea, bytea, text) returns bytea
language plpgsql immutable strict parallel safe
as $$
declare
  v_block constant integer := case when lower($3) in ('sha384', 'sha512') then 128 else 64 end;
  v_key bytea := $2;
  v_inner bytea;
  v_outer bytea;
begin
  if length(v_key) > v_block then
    v_key := @extschema@.digest(v_key, $3);
  end if;
  v_key := v_key || decode(repeat('00', v_block - length(v_key)), 'hex');
  v_inner := v_key;
  v_outer := v_key;
  for i in 0 .. v_block - 1 loop
    v_inner := set_byte(v_inner, i, get_byte(v_key, i) # 54);
    v_outer := set_byte(v_outer, i, get_byte(v_key, i) # 92);
  end loop;
  return @extschema@.digest(v_outer || @extschema@.digest(v_inner || $1, $3), $3);
end;
$$;

create function hmac(text, text, text) returns bytea
language sql immutable strict parallel safe
as $$ select @extschema@.hmac(convert_to($1, 'UTF8'), convert_to($2, 'UTF8'), $3) $$;

create function gen_salt(text) returns text
language plpgsql volatile strict parallel safe
as $$
begin
  if $1 not in ('des', 'xdes', 'md5', 'bf', 'sha256crypt', 'sha512crypt') then
    raise exception 'gen_salt: Unknown salt algorithm' using errcode = '22023';
  end if;
  return '$pymilk$' || encode(@extschema@.gen_random_bytes(12), 'hex') || '$';
end;
$$;

create function gen_salt(text, integer) returns text
language sql volatile strict parallel safe
as $$ select @extschema@.gen_salt($1) $$;

create function crypt(text, text) returns text
language plpgsql immutable strict parallel safe
as $$
declare
  v_salt constant text := substring($2 from '^\$pymilk\$[0-9a-f]{24}\$');
begin
  if v_salt is null then
    perform @extschema@.pgcrypto_stand_in_refuses('crypt() for a hash that it did not make itself');
  end if;
  return v_salt || encode(sha256(convert_to(v_salt || $1, 'UTF8')), 'hex');
end;
$$;

do $make$
declare
  v_signature text;
begin
  foreach v_signature in array array[
    'encrypt(bytea, bytea, text) returns bytea',
    'decrypt(bytea, bytea, text) returns bytea',
    'encrypt_iv(bytea, bytea, bytea, text) returns bytea',
    'decrypt_iv(bytea, bytea, bytea, text) returns bytea',
    'pgp_sym_encrypt(text, text) returns bytea',
    'pgp_sym_encrypt(text, text, text) returns bytea',
    'pgp_sym_encrypt_bytea(bytea, text) returns bytea',
    'pgp_sym_encrypt_bytea(bytea, text, text) returns bytea',
    'pgp_sym_decrypt(bytea, text) returns text',
    'pgp_sym_decrypt(bytea, text, text) returns text',
    'pgp_sym_decrypt_bytea(bytea, text) returns bytea',
    'pgp_sym_decrypt_bytea(bytea, text, text) returns bytea',
    'pgp_pub_encrypt(text, bytea) returns bytea',
    'pgp_pub_encrypt(text, bytea, text) returns bytea',
    'pgp_pub_encrypt_bytea(bytea, bytea) returns bytea',
    'pgp_pub_encrypt_bytea(bytea, bytea, text) returns bytea',
    'pgp_pub_decrypt(bytea, bytea) returns text',
    'pgp_pub_decrypt(bytea, bytea, text) returns text',
    'pgp_pub_decrypt(bytea, bytea, text, text) returns text',
    'pgp_pub_decrypt_bytea(bytea, bytea) returns bytea',
    'pgp_pub_decrypt_bytea(bytea, bytea, text) returns bytea',
    'pgp_pub_decrypt_bytea(bytea, bytea, text, text) returns bytea',
    'pgp_key_id(bytea) returns text',
    'armor(bytea) returns text',
    'armor(bytea, text[], text[]) returns text',
    'dearmor(text) returns bytea'
  ]
  loop
    execute format(
      'create function %s language plpgsql immutable strict parallel safe as %L',
      v_signature,
      format(
        'begin perform @extschema@.pgcrypto_stand_in_refuses(%L); return null; end;',
        split_part(v_signature, '(', 1) || '()'
      )
    );
  end loop;
end;
$make$;
