-- Stand-in of pymilk for plpgsql_check, a linter: it finds nothing.

create function plpgsql_check_function(funcoid regprocedure, relid regclass default 0)
returns setof text
language sql
as $$ select null::text where false $$;

create function plpgsql_check_function(name text, relid regclass default 0)
returns setof text
language sql
as $$ select null::text where false $$;
