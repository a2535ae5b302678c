-- The body of every function that is the project's: what a function does is told by what it calls.
select
  schema.nspname,
  function.proname,
  coalesce(
    nullif(function.prosrc, ''), pg_catalog.pg_get_function_sqlbody(function.oid), ''
  )
from pg_catalog.pg_proc as function
inner join pg_catalog.pg_namespace as schema on function.pronamespace = schema.oid
inner join pg_catalog.pg_language as language on function.prolang = language.oid
where
  language.lanname in ('plpgsql', 'sql')
  and schema.nspname <> all(%(hidden)s)
order by 1, 2, function.oid
