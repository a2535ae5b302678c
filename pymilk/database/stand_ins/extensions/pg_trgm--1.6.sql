-- Stand-in of pymilk for pg_trgm: its functions and operators, without the operator classes that
-- indexes need. A set of trigrams: of each word in lower case, two blanks before it and one after.

create function show_trgm(text) returns text[]
language sql immutable strict parallel safe
as $$
  select coalesce(array_agg(distinct substr(w.padded, i, 3) order by substr(w.padded, i, 3)), '{}')
  from (
    select '  ' || m[1] || ' ' as padded from regexp_matches(lower($1), '([[:alnum:]]+)', 'g') as m
  ) as w
  cross join lateral generate_series(1, length(w.padded) - 2) as i
$$;

create function similarity(text, text) returns real
language sql immutable strict parallel safe
as $$
  select coalesce(
    count(*) filter (where s.sides = 2)::real / nullif(count(*), 0), 0
  )::real
  from (
    select count(*) as sides
    from (
      select unnest(@extschema@.show_trgm($1)) as gram
      union all
      select unnest(@extschema@.show_trgm($2))
    ) as g
    group by g.gram
  ) as s
$$;

-- How much of the first the second has; the extent of the best word is taken as the whole.
create function word_similarity(text, text) returns real
language sql immutable strict parallel safe
as $$
  select coalesce(
    (select count(*) from unnest(@extschema@.show_trgm($1)) as g
      where g = any(@extschema@.show_trgm($2)))::real
    / nullif(cardinality(@extschema@.show_trgm($1)), 0), 0
  )::real
$$;

create function strict_word_similarity(text, text) returns real
language sql immutable strict parallel safe
as $$ select @extschema@.word_similarity($1, $2) $$;

create function show_limit() returns real
language sql stable strict parallel safe
as $$
  select coalesce(nullif(current_setting('pg_trgm.similarity_threshold', true), ''), '0.3')::real
$$;

create function set_limit(real) returns real
language sql volatile strict
as $$ select set_config('pg_trgm.similarity_threshold', $1::text, false)::real $$;

create function similarity_op(text, text) returns boolean
language sql stable strict parallel safe
as $$ select @extschema@.similarity($1, $2) >= @extschema@.show_limit() $$;

create function similarity_dist(text, text) returns real
language sql immutable strict parallel safe
as $$ select (1 - @extschema@.similarity($1, $2))::real $$;

create function word_similarity_op(text, text) returns boolean
language sql stable strict parallel safe
as $$
  select @extschema@.word_similarity($1, $2)
    >= coalesce(nullif(current_setting('pg_trgm.word_similarity_threshold', true), ''), '0.6')::real
$$;

create function word_similarity_commutator_op(text, text) returns boolean
language sql stable strict parallel safe
as $$ select @extschema@.word_similarity_op($2, $1) $$;

create operator % (leftarg = text, rightarg = text, function = similarity_op, commutator = %);
create operator <-> (leftarg = text, rightarg = text, function = similarity_dist, commutator = <->);
create operator <% (leftarg = text, rightarg = text, function = word_similarity_op);
create operator %> (leftarg = text, rightarg = text, function = word_similarity_commutator_op);
