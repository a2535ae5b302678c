-- Every function of one schema, as JSON, in the order of their names: $1 the schema.
select
  jsonb_build_object(
    'oid', function.oid::text,
    'name', function.proname,
    'kind', function.prokind,
    'signature', pg_catalog.pg_get_function_identity_arguments(function.oid),
    'extension', (
      select extension.extname
      from pg_catalog.pg_depend as membership
      inner join pg_catalog.pg_extension as extension on membership.refobjid = extension.oid
      where membership.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
        and membership.objid = function.oid
        and membership.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
        and membership.deptype = 'e'
    ),
    'returns', function.prorettype::text,
    'several', function.proretset,
    'comment', pg_catalog.obj_description(function.oid, 'pg_proc'),
    'arguments', coalesce(argument.described, '[]')
  )
from pg_catalog.pg_proc as function
cross join lateral (
  select
    jsonb_agg(
      jsonb_build_object(
        'name', named.name,
        'type', named.type::text,
        'mode', named.mode,
        'default', case
          when named.mode in ('i', 'b', 'v')
            then pg_catalog.pg_get_function_arg_default(function.oid, named.position::integer)
        end
      )
      order by named.position
    ) as described
  from (
    select each.position, each.type, coalesce(each.mode, 'i') as mode, coalesce(each.name, '') as name
    from rows from (
      unnest(coalesce(function.proallargtypes, function.proargtypes::oid[])),
      unnest(function.proargmodes),
      unnest(function.proargnames)
    ) with ordinality as each (type, mode, name, position)
  ) as named
) as argument
where function.pronamespace = (
  select schema.oid from pg_catalog.pg_namespace as schema where schema.nspname = %(schema)s
)
order by function.proname, pg_catalog.pg_get_function_identity_arguments(function.oid)
