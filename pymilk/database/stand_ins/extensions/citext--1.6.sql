-- Stand-in of pymilk for citext: text that compares in lower case. Input and output are text's own;
-- what compares is SQL, with operator classes, so that keys and indexes work (slowly).

create type citext;

create function citextin(cstring) returns citext
language internal immutable strict parallel safe as 'textin';
create function citextout(citext) returns cstring
language internal immutable strict parallel safe as 'textout';
create function citextrecv(internal) returns citext
language internal stable strict parallel safe as 'textrecv';
create function citextsend(citext) returns bytea
language internal stable strict parallel safe as 'textsend';

create type citext (
  input = citextin, output = citextout, receive = citextrecv, send = citextsend,
  internallength = variable, storage = extended, category = 'S', preferred = false,
  collatable = true
);

create function citext(character) returns citext
language internal immutable strict parallel safe as 'rtrim1';
create function citext(boolean) returns citext
language internal immutable strict parallel safe as 'booltext';
create function citext(inet) returns citext
language internal immutable strict parallel safe as 'network_show';

create cast (citext as text) without function as implicit;
create cast (citext as varchar) without function as implicit;
create cast (citext as bpchar) without function as assignment;
create cast (text as citext) without function as assignment;
create cast (varchar as citext) without function as assignment;
create cast (bpchar as citext) with function citext(character) as assignment;
create cast (boolean as citext) with function citext(boolean) as assignment;
create cast (inet as citext) with function citext(inet) as assignment;

create function citext_cmp(citext, citext) returns integer
language plpgsql immutable strict parallel safe
as $$
begin
  return case
    when lower($1::text) collate "C" < lower($2::text) collate "C" then -1
    when lower($1::text) = lower($2::text) then 0
    else 1
  end;
end;
$$;
create function citext_hash(citext) returns integer
language plpgsql immutable strict parallel safe
as $$ begin return hashtext(lower($1::text)); end $$;

create function citext_eq(citext, citext) returns boolean
language plpgsql immutable strict parallel safe
as $$ begin return lower($1::text) = lower($2::text); end $$;
create function citext_ne(citext, citext) returns boolean
language plpgsql immutable strict parallel safe
as $$ begin return lower($1::text) <> lower($2::text); end $$;
create function citext_lt(citext, citext) returns boolean
language plpgsql immutable strict parallel safe
as $$ begin return lower($1::text) collate "C" < lower($2::text) collate "C"; end $$;
create function citext_le(citext, citext) returns boolean
language plpgsql immutable strict parallel safe
as $$ begin return lower($1::text) collate "C" <= lower($2::text) collate "C"; end $$;
create function citext_gt(citext, citext) returns boolean
language plpgsql immutable strict parallel safe
as $$ begin return lower($1::text) collate "C" > lower($2::text) collate "C"; end $$;
create function citext_ge(citext, citext) returns boolean
language plpgsql immutable strict parallel safe
as $$ begin return lower($1::text) collate "C" >= lower($2::text) collate "C"; end $$;

create operator = (
  leftarg = citext, rightarg = citext, function = citext_eq, commutator = =, negator = <>,
  restrict = eqsel, join = eqjoinsel, hashes, merges
);
create operator <> (
  leftarg = citext, rightarg = citext, function = citext_ne, commutator = <>, negator = =,
  restrict = neqsel, join = neqjoinsel
);
create operator < (
  leftarg = citext, rightarg = citext, function = citext_lt, commutator = >, negator = >=,
  restrict = scalarltsel, join = scalarltjoinsel
);
create operator <= (
  leftarg = citext, rightarg = citext, function = citext_le, commutator = >=, negator = >,
  restrict = scalarlesel, join = scalarlejoinsel
);
create operator > (
  leftarg = citext, rightarg = citext, function = citext_gt, commutator = <, negator = <=,
  restrict = scalargtsel, join = scalargtjoinsel
);
create operator >= (
  leftarg = citext, rightarg = citext, function = citext_ge, commutator = <=, negator = <,
  restrict = scalargesel, join = scalargejoinsel
);

create operator class citext_ops default for type citext using btree as
  operator 1 <, operator 2 <=, operator 3 =, operator 4 >=, operator 5 >,
  function 1 citext_cmp(citext, citext);
create operator class citext_ops default for type citext using hash as
  operator 1 =, function 1 citext_hash(citext);

create function citext_smaller(citext, citext) returns citext
language sql immutable strict parallel safe
as $$ select case when @extschema@.citext_cmp($1, $2) < 0 then $1 else $2 end $$;
create function citext_larger(citext, citext) returns citext
language sql immutable strict parallel safe
as $$ select case when @extschema@.citext_cmp($1, $2) > 0 then $1 else $2 end $$;
create aggregate min(citext) (sfunc = citext_smaller, stype = citext, sortop = <);
create aggregate max(citext) (sfunc = citext_larger, stype = citext, sortop = >);

do $make$
declare
  v_operator text;
  v_name text;
  v_right text;
  v_expression text;
begin
  for v_operator, v_name, v_expression in
    values
      ('~', 'citext_regexeq', '$1::text ~* $2::text'),
      ('~*', 'citext_regexeq_i', '$1::text ~* $2::text'),
      ('!~', 'citext_regexne', '$1::text !~* $2::text'),
      ('!~*', 'citext_regexne_i', '$1::text !~* $2::text'),
      ('~~', 'citext_like', '$1::text ~~* $2::text'),
      ('~~*', 'citext_like_i', '$1::text ~~* $2::text'),
      ('!~~', 'citext_nlike', '$1::text !~~* $2::text'),
      ('!~~*', 'citext_nlike_i', '$1::text !~~* $2::text')
  loop
    foreach v_right in array array['citext', 'text'] loop
      execute format(
        'create function %s(citext, %s) returns boolean language sql immutable strict parallel safe'
        ' as $f$ select %s $f$',
        v_name, v_right, v_expression
      );
      execute format(
        'create operator %s (leftarg = citext, rightarg = %s, function = %s)',
        v_operator, v_right, v_name
      );
    end loop;
  end loop;
end;
$make$;

create function strpos(citext, citext) returns integer
language sql immutable strict parallel safe
as $$ select pg_catalog.strpos(lower($1::text), lower($2::text)) $$;
create function replace(citext, citext, citext) returns text
language sql immutable strict parallel safe
as $$
  select regexp_replace(
    $1::text, regexp_replace($2::text, '([^[:alnum:]])', '\\\1', 'g'), $3::text, 'gi'
  )
$$;
create function split_part(citext, citext, integer) returns text
language sql immutable strict parallel safe
as $$
  select (
    regexp_split_to_array($1::text, regexp_replace($2::text, '([^[:alnum:]])', '\\\1', 'g'), 'i')
  )[$3]
$$;
