-- Every object of the project's schemas as (kind, name, definition), one row each.
--
-- What a difference must not depend on is left out or put in order: oids, the order of columns,
-- of grants and of settings, NOT NULL as a constraint of its own (only Postgres 18 lists it), the
-- privilege MAINTAIN (only 17 and newer know it), and a null ACL against the same one spelled out.
-- Expressions are printed with the parentheses that they need: an `or` of ors is one after a restore.
-- %(hidden)s: schemas of the platform and of this tool.
with
    spaces as (
        select
            n.oid,
            n.nspname,
            n.nspowner,
            coalesce(n.nspacl, acldefault('n', n.nspowner)) as acl
        from pg_namespace as n
        where
            n.nspname <> all(%(hidden)s)
            and n.nspname !~ '^pg_|^restored_[0-9]{8}_[0-9]{6}$'
            and not exists (
                select from pg_depend as d
                where d.classid = 'pg_namespace'::regclass and d.objid = n.oid and d.deptype = 'e'
            )
    ),

    extension_members as (
        select d.classid, d.objid from pg_depend as d
        where d.deptype = 'e'
    ),

    relations as (
        select
            c.oid,
            n.nspname,
            c.relname,
            c.relkind,
            c.relowner,
            c.relpersistence,
            c.relrowsecurity,
            c.relforcerowsecurity,
            c.relreplident,
            c.reloptions,
            c.relispartition,
            c.relpartbound,
            coalesce(
                c.relacl,
                acldefault(case c.relkind when 'S' then 's'::"char" else 'r'::"char" end, c.relowner)
            ) as acl
        from pg_class as c
        inner join spaces as n on c.relnamespace = n.oid
    ),

    functions as (
        select
            p.oid,
            n.nspname,
            p.proname,
            p.prokind,
            p.proowner,
            coalesce(p.proacl, acldefault('f', p.proowner)) as acl
        from pg_proc as p
        inner join spaces as n on p.pronamespace = n.oid
        where not exists (
            select from extension_members as e
            where e.classid = 'pg_proc'::regclass and e.objid = p.oid
        )
    ),

    types as (
        select
            t.oid,
            n.nspname,
            t.typname,
            t.typowner,
            t.typtype,
            t.typbasetype,
            t.typtypmod,
            t.typnotnull,
            t.typdefault,
            case when t.typtype <> 'c' then coalesce(t.typacl, acldefault('T', t.typowner)) end
                as acl
        from pg_type as t
        inner join spaces as n on t.typnamespace = n.oid
        where
            (
                t.typtype in ('e', 'd', 'r')
                or t.typrelid in (select c.oid from relations as c where c.relkind = 'c')
            )
            and not exists (
                select from extension_members as e
                where e.classid = 'pg_type'::regclass and e.objid = t.oid
            )
    ),

    -- Thousands of objects have the same few lists of grants: each list is put into words once.
    grants(acl, text) as (
        select
            a.acl,
            (
                select string_agg(
                    format(
                        '%%s: %%s%%s',
                        case when x.grantee = 0 then 'public' else x.grantee::regrole::text end,
                        lower(x.privilege_type),
                        case when x.is_grantable then ' with grant option' else '' end
                    ),
                    e'\n'
                    order by
                        case when x.grantee = 0 then 'public' else x.grantee::regrole::text end,
                        x.privilege_type,
                        x.is_grantable
                )
                from aclexplode(a.acl) as x
                where x.privilege_type <> 'MAINTAIN'
            )
        from (
            select n.acl from spaces as n
            union
            select c.acl from relations as c
            union
            select t.attacl from pg_attribute as t
            where t.attacl is not null
            union
            select p.acl from functions as p
            union
            select t.acl from types as t
        ) as a
    ),

    -- Postgres describes thousands of things of its own, all below 16384.
    comments as (
        select d.classoid, d.objoid, d.objsubid, d.description from pg_description as d
        where d.objoid >= 16384 or d.objoid in (select n.oid from spaces as n)
    ),

    objects(kind, name, definition) as (
        select
            'schema',
            format('%%I', n.nspname),
            concat_ws(e'\n', 'owner ' || n.nspowner::regrole, g.text, 'comment ' || k.description)
        from spaces as n
        left join grants as g on n.acl = g.acl
        left join comments as k on k.classoid = 'pg_namespace'::regclass and k.objoid = n.oid

        union all

        select
            case c.relkind
                when 'v' then 'view' when 'm' then 'materialized view'
                when 'f' then 'foreign table' else 'table'
            end,
            format('%%I.%%I', c.nspname, c.relname),
            concat_ws(
                e'\n',
                'owner ' || c.relowner::regrole,
                'kind ' || c.relkind::text || ' persistence ' || c.relpersistence::text,
                'row security ' || c.relrowsecurity || ' forced ' || c.relforcerowsecurity,
                'replica identity ' || c.relreplident::text,
                'options ' || array(select unnest(c.reloptions) order by 1)::text,
                'partition of ' || (
                    select i.inhparent::regclass::text || ' ' || pg_get_expr(c.relpartbound, c.oid, true)
                    from pg_inherits as i where i.inhrelid = c.oid and c.relispartition
                ),
                'partition by ' || pg_get_partkeydef(c.oid),
                'inherits ' || nullif(
                    array(
                        select i.inhparent::regclass::text from pg_inherits as i
                        where i.inhrelid = c.oid and not c.relispartition
                        order by i.inhseqno
                    )::text,
                    '{}'
                ),
                g.text,
                'comment ' || k.description
            )
        from relations as c
        left join grants as g on c.acl = g.acl
        left join comments as k
            on k.classoid = 'pg_class'::regclass and k.objoid = c.oid and k.objsubid = 0
        where
            c.relkind in ('r', 'p', 'v', 'm', 'f')
            and not exists (
                select from extension_members as e
                where e.classid = 'pg_class'::regclass and e.objid = c.oid
            )

        union all

        -- By itself, because majors word it differently: before 16, `goods.id` for `id`.
        select
            'view definition',
            format('%%I.%%I', c.nspname, c.relname),
            pg_get_viewdef(c.oid, true)
        from relations as c
        where
            c.relkind in ('v', 'm')
            and not exists (
                select from extension_members as e
                where e.classid = 'pg_class'::regclass and e.objid = c.oid
            )

        union all

        select 'worded by', 'Postgres', (current_setting('server_version_num')::int / 10000)::text

        union all

        select
            'column',
            format('%%I.%%I.%%I', c.nspname, c.relname, t.attname),
            concat_ws(
                e'\n',
                format_type(t.atttypid, t.atttypmod)
                || case when t.attnotnull then ' not null' else '' end,
                'collation ' || nullif(t.attcollation, y.typcollation)::regcollation,
                'default ' || pg_get_expr(f.adbin, f.adrelid, true),
                'identity ' || nullif(t.attidentity::text, ''),
                'generated ' || nullif(t.attgenerated::text, ''),
                'storage ' || nullif(t.attstorage, y.typstorage)::text,
                'compression ' || nullif(t.attcompression::text, ''),
                'statistics ' || nullif(t.attstattarget, -1)::text,
                'options ' || nullif(
                    array(
                        select option
                        from unnest(t.attoptions) as option
                        -- a number that newer servers note on each column for themselves
                        where split_part(option, '=', 1) <> 'pg_attver'
                        order by option
                    )::text,
                    '{}'
                ),
                g.text,
                'comment ' || k.description
            )
        from pg_attribute as t
        inner join relations as c on t.attrelid = c.oid
        inner join pg_type as y on t.atttypid = y.oid
        left join pg_attrdef as f on f.adrelid = c.oid and f.adnum = t.attnum
        left join grants as g on t.attacl = g.acl
        left join comments as k
            on k.classoid = 'pg_class'::regclass and k.objoid = c.oid and k.objsubid = t.attnum
        where t.attnum > 0 and not t.attisdropped and c.relkind in ('r', 'p', 'v', 'm', 'f', 'c')

        union all

        select
            'constraint',
            format(
                '%%s %%I',
                coalesce(nullif(x.conrelid, 0)::regclass::text, x.contypid::regtype::text),
                x.conname
            ),
            concat_ws(
                e'\n',
                pg_get_constraintdef(x.oid, true),
                case when not x.convalidated then 'not validated' end,
                'comment ' || k.description
            )
        from pg_constraint as x
        inner join spaces as n on x.connamespace = n.oid
        left join comments as k on k.classoid = 'pg_constraint'::regclass and k.objoid = x.oid
        where x.contype not in ('n', 't') and x.conparentid = 0

        union all

        select
            'index',
            format('%%I.%%I', c.nspname, c.relname),
            concat_ws(
                e'\n',
                pg_get_indexdef(i.indexrelid, 0, true),
                case when not i.indisvalid then 'invalid' end,
                case when i.indisclustered then 'clustered' end,
                case when i.indisreplident then 'replica identity' end,
                'comment ' || k.description
            )
        from pg_index as i
        inner join relations as c on i.indexrelid = c.oid
        left join comments as k on k.classoid = 'pg_class'::regclass and k.objoid = c.oid

        union all

        select
            'trigger',
            format('%%s %%I', r.tgrelid::regclass, r.tgname),
            concat_ws(
                e'\n',
                pg_get_triggerdef(r.oid, true),
                'enabled ' || nullif(r.tgenabled, 'O')::text,
                'comment ' || k.description
            )
        from pg_trigger as r
        inner join pg_class as c on r.tgrelid = c.oid
        inner join pg_proc as p on r.tgfoid = p.oid
        left join comments as k on k.classoid = 'pg_trigger'::regclass and k.objoid = r.oid
        where
            not r.tgisinternal
            and (
                c.relnamespace in (select s.oid from spaces as s)
                or p.pronamespace in (select s.oid from spaces as s)
            )

        union all

        select
            'rule',
            format('%%s %%I', w.ev_class::regclass, w.rulename),
            pg_get_ruledef(w.oid, true)
        from pg_rewrite as w
        inner join relations as c on w.ev_class = c.oid
        where w.rulename <> '_RETURN'

        union all

        select
            'policy',
            format('%%s %%I', l.polrelid::regclass, l.polname),
            concat_ws(
                e'\n',
                case when l.polpermissive then 'permissive' else 'restrictive' end,
                'for ' || l.polcmd::text,
                'to ' || array(
                    select case when u = 0 then 'public' else u::regrole::text end
                    from unnest(l.polroles) as u order by 1
                )::text,
                'using ' || pg_get_expr(l.polqual, l.polrelid, true),
                'with check ' || pg_get_expr(l.polwithcheck, l.polrelid, true),
                'comment ' || k.description
            )
        from pg_policy as l
        inner join pg_class as c on l.polrelid = c.oid
        left join comments as k on k.classoid = 'pg_policy'::regclass and k.objoid = l.oid
        -- Those on the platform's tables are the project's too: storage.objects has none of its own.
        where not exists (
            select from extension_members as e
            where e.classid = 'pg_class'::regclass and e.objid = c.oid
        )

        union all

        select
            case p.prokind
                when 'p' then 'procedure' when 'a' then 'aggregate'
                when 'w' then 'window function' else 'function'
            end,
            format('%%I.%%I(%%s)', p.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
            concat_ws(
                e'\n',
                'owner ' || p.proowner::regrole,
                case when p.prokind <> 'a' then pg_get_functiondef(p.oid) end,
                (
                    select row(
                        a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.agginitval,
                        a.aggsortop, a.aggtranstype::regtype, a.aggkind
                    )::text
                    from pg_aggregate as a where a.aggfnoid = p.oid
                ),
                g.text,
                'comment ' || k.description
            )
        from functions as p
        left join grants as g on p.acl = g.acl
        left join comments as k on k.classoid = 'pg_proc'::regclass and k.objoid = p.oid

        union all

        select
            'type',
            format('%%I.%%I', t.nspname, t.typname),
            concat_ws(
                e'\n',
                'owner ' || t.typowner::regrole,
                'kind ' || t.typtype::text,
                (
                    select 'labels ' || string_agg(quote_literal(e.enumlabel), ', ' order by e.enumsortorder)
                    from pg_enum as e where e.enumtypid = t.oid
                ),
                case
                    when t.typtype = 'd'
                        then format_type(t.typbasetype, t.typtypmod)
                            || case when t.typnotnull then ' not null' else '' end
                end,
                'default ' || t.typdefault,
                (select 'subtype ' || r.rngsubtype::regtype from pg_range as r where r.rngtypid = t.oid),
                g.text,
                'comment ' || k.description
            )
        from types as t
        left join grants as g on t.acl = g.acl
        left join comments as k on k.classoid = 'pg_type'::regclass and k.objoid = t.oid

        union all

        select
            'sequence',
            format('%%I.%%I', c.nspname, c.relname),
            concat_ws(
                e'\n',
                'owner ' || c.relowner::regrole,
                format(
                    '%%s start %%s increment %%s from %%s to %%s cache %%s cycle %%s',
                    q.seqtypid::regtype, q.seqstart, q.seqincrement, q.seqmin, q.seqmax,
                    q.seqcache, q.seqcycle
                ),
                (
                    select 'owned by ' || d.refobjid::regclass || '.' || t.attname
                    from pg_depend as d
                    inner join pg_attribute as t
                        on d.refobjid = t.attrelid and d.refobjsubid = t.attnum
                    where
                        d.classid = 'pg_class'::regclass and d.objid = c.oid
                        and d.deptype in ('a', 'i') and d.refclassid = 'pg_class'::regclass
                ),
                g.text,
                'comment ' || k.description
            )
        from pg_sequence as q
        inner join relations as c on q.seqrelid = c.oid
        left join grants as g on c.acl = g.acl
        left join comments as k on k.classoid = 'pg_class'::regclass and k.objoid = c.oid

        union all

        select
            'default privileges',
            format(
                '%%s %%s %%s',
                d.defaclrole::regrole,
                coalesce(quote_ident(n.nspname), 'everywhere'),
                d.defaclobjtype::text
            ),
            (
                select string_agg(
                    format(
                        '%%s: %%s%%s',
                        case when x.grantee = 0 then 'public' else x.grantee::regrole::text end,
                        lower(x.privilege_type),
                        case when x.is_grantable then ' with grant option' else '' end
                    ),
                    e'\n'
                    order by
                        case when x.grantee = 0 then 'public' else x.grantee::regrole::text end,
                        x.privilege_type
                )
                from aclexplode(d.defaclacl) as x
                where x.privilege_type <> 'MAINTAIN'
            )
        from pg_default_acl as d
        left join spaces as n on d.defaclnamespace = n.oid
        where
            (d.defaclnamespace = 0 or n.oid is not null)
            and d.defaclrole = (select r.oid from pg_roles as r where r.rolname = current_user)

        union all

        select
            'event trigger',
            format('%%I', v.evtname),
            concat_ws(
                e'\n',
                'on ' || v.evtevent || ' run ' || v.evtfoid::regprocedure,
                'tags ' || v.evttags::text,
                'enabled ' || v.evtenabled::text
            )
        from pg_event_trigger as v
        inner join pg_proc as p on v.evtfoid = p.oid
        where p.pronamespace in (select s.oid from spaces as s)

        union all

        select
            'publication table',
            format('%%I %%s', b.pubname, r.prrelid::regclass),
            concat_ws(e'\n', 'where ' || pg_get_expr(r.prqual, r.prrelid, true), 'columns ' || r.prattrs::text)
        from pg_publication_rel as r
        inner join pg_publication as b on r.prpubid = b.oid
        inner join relations as c on r.prrelid = c.oid

        union all

        -- What else lives in a schema: operators, collations, statistics, text search.
        select
            i.type,
            i.identity,
            concat_ws(
                e'\n',
                case
                    when d.classid = 'pg_statistic_ext'::regclass
                        then pg_get_statisticsobjdef(d.objid)
                end,
                (
                    select row(
                        o.oprcode, o.oprcom::regoperator, o.oprnegate::regoperator,
                        o.oprrest, o.oprjoin, o.oprcanhash, o.oprcanmerge
                    )::text
                    from pg_operator as o
                    where d.classid = 'pg_operator'::regclass and o.oid = d.objid
                ),
                (
                    select row(
                        l.collprovider, l.collisdeterministic, l.collcollate, l.collctype
                    )::text
                    from pg_collation as l
                    where d.classid = 'pg_collation'::regclass and l.oid = d.objid
                ),
                'comment ' || k.description
            )
        from pg_depend as d
        inner join spaces as n on d.refobjid = n.oid
        cross join lateral pg_identify_object(d.classid, d.objid, 0) as i
        left join comments as k
            on d.classid = k.classoid and d.objid = k.objoid and k.objsubid = 0
        where
            d.refclassid = 'pg_namespace'::regclass
            and d.classid in (
                'pg_operator'::regclass, 'pg_opclass'::regclass, 'pg_opfamily'::regclass,
                'pg_collation'::regclass, 'pg_conversion'::regclass, 'pg_statistic_ext'::regclass,
                'pg_ts_config'::regclass, 'pg_ts_dict'::regclass, 'pg_ts_parser'::regclass,
                'pg_ts_template'::regclass
            )
            and not exists (
                select from extension_members as e
                where e.classid = d.classid and e.objid = d.objid
            )
    )

select o.kind, o.name, coalesce(o.definition, '') as definition from objects as o
order by o.kind collate "C", o.name collate "C"
