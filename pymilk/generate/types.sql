-- Every type that can be an argument, a result or a part of one, as JSON.
--
-- A table's row is a composite type too; of its columns it is known which can't be null, and what
-- their CHECK constraints say.
select
  jsonb_build_object(
    'oid', type.oid::text,
    'name', type.typname,
    'schema', schema.nspname,
    'sql', pg_catalog.format_type(type.oid, null),
    'kind', type.typtype,
    'category', type.typcategory,
    'base', nullif(type.typbasetype, 0)::text,
    'element', case
      when type.typsubscript = 'pg_catalog.array_subscript_handler'::pg_catalog.regproc
        then nullif(type.typelem, 0)::text
    end,
    'never_null', type.typnotnull,
    'as_json', exists (
      select
      from pg_catalog.pg_cast as conversion
      where conversion.castsource = type.oid
        and conversion.casttarget = 'pg_catalog.json'::pg_catalog.regtype
        and conversion.castfunc <> 0
    ),
    'labels', (
      select jsonb_agg(label.enumlabel order by label.enumsortorder)
      from pg_catalog.pg_enum as label
      where label.enumtypid = type.oid
    ),
    'checks', (
      select jsonb_agg(pg_catalog.pg_get_constraintdef(rule.oid) order by rule.conname)
      from pg_catalog.pg_constraint as rule
      where rule.contypid = type.oid and rule.contype = 'c'
    ),
    'table', class.relkind <> 'c',
    'columns', (
      select
        jsonb_agg(
          jsonb_build_object(
            'name', attribute.attname,
            'type', attribute.atttypid::text,
            'never_null', attribute.attnotnull,
            'checks', (
              select jsonb_agg(pg_catalog.pg_get_constraintdef(rule.oid) order by rule.conname)
              from pg_catalog.pg_constraint as rule
              where rule.conrelid = class.oid
                and rule.contype = 'c'
                and rule.conkey = array[attribute.attnum]
            )
          )
          order by attribute.attnum
        )
      from pg_catalog.pg_attribute as attribute
      where attribute.attrelid = class.oid and attribute.attnum > 0 and not attribute.attisdropped
    )
  )
from pg_catalog.pg_type as type
inner join pg_catalog.pg_namespace as schema on type.typnamespace = schema.oid
left join pg_catalog.pg_class as class on type.typrelid = class.oid
where
  schema.nspname not in ('information_schema', 'pg_toast')
  and (schema.nspname <> 'pg_catalog' or type.typtype <> 'c')
  and coalesce(class.relkind, 'c') in ('c', 'r', 'v', 'm', 'p', 'f')
