-- Stand-in of pymilk for hypopg, a tool for people who tune queries: there is never an index.

create function hypopg_create_index(
  sql_order text, out indexrelid oid, out indexname text
) returns setof record
language sql
as $$ select null::oid, null::text where false $$;

create function hypopg_list_indexes(
  out indexrelid oid, out index_name text, out schema_name name, out table_name name,
  out am_name name
) returns setof record
language sql
as $$ select null::oid, null::text, null::name, null::name, null::name where false $$;

create function hypopg_drop_index(indexid oid) returns boolean
language sql
as $$ select false $$;

create function hypopg_reset() returns void
language sql
as $$ select $$;
