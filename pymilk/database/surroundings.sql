-- What a migration can change around the project's schemas, as (name, value), one row each.
--
-- Extensions, settings of roles and of this database, publications, and whether materialized views
-- hold their rows. None of it is part of the schema that is compared with a copy's: another server
-- has other roles and other settings, and a platform upgrades extensions by itself, so that their
-- versions are left out. What a setting of the app's own says may be a key: it is hashed.
select
    'extension ' || quote_ident(e.extname) as name,
    'in schema ' || quote_ident(n.nspname) as value
from pg_catalog.pg_extension as e
inner join pg_catalog.pg_namespace as n on e.extnamespace = n.oid

union all

select
    format(
        'setting %s of %s',
        split_part(c.setting, '=', 1),
        concat_ws(
            ' in ',
            'role ' || quote_ident(r.rolname),
            case when s.setdatabase <> 0 then 'this database' end
        )
    ),
    case
        when split_part(c.setting, '=', 1) like '%.%'
            then 'hashed ' || left(encode(sha256(convert_to(c.setting, 'UTF8')), 'hex'), 16)
        else substr(c.setting, strpos(c.setting, '=') + 1)
    end
from pg_catalog.pg_db_role_setting as s
left join pg_catalog.pg_roles as r on s.setrole = r.oid
cross join lateral unnest(s.setconfig) as c (setting)
where
    s.setdatabase in (
        0, (select d.oid from pg_catalog.pg_database as d where d.datname = current_database())
    )

union all

select
    'publication ' || quote_ident(p.pubname),
    concat_ws(
        ', ',
        'owner ' || pg_get_userbyid(p.pubowner),
        case when p.puballtables then 'all tables' end,
        case when p.pubinsert then 'insert' end,
        case when p.pubupdate then 'update' end,
        case when p.pubdelete then 'delete' end,
        case when p.pubtruncate then 'truncate' end,
        case when p.pubviaroot then 'via root' end,
        (
            select 'schemas ' || string_agg(quote_ident(n.nspname), ' ' order by n.nspname)
            from pg_catalog.pg_publication_namespace as s
            inner join pg_catalog.pg_namespace as n on s.pnnspid = n.oid
            where s.pnpubid = p.oid
        )
    )
from pg_catalog.pg_publication as p

union all

select
    format('materialized view %I.%I', n.nspname, c.relname),
    case when c.relispopulated then 'filled' else 'not filled, so that nobody can read it' end
from pg_catalog.pg_class as c
inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
where c.relkind = 'm'
