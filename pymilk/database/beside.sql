-- Statements that make again what a dump of chosen schemas leaves out, in the order to run them.
-- %(hidden)s: schemas of the platform and of this tool.
with
    spaces as (
        select n.oid from pg_namespace as n
        where n.nspname <> all(%(hidden)s) and n.nspname !~ '^pg_|^restored_[0-9]{8}_[0-9]{6}$'
    ),

    everywhere as (
        select
            d.oid,
            d.defaclacl,
            d.defaclrole::regrole as owner,
            case d.defaclobjtype
                when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions'
                when 'T' then 'types' when 'n' then 'schemas'
            end as kind
        from pg_default_acl as d
        where d.defaclnamespace = 0 and d.defaclobjtype in ('r', 'S', 'f', 'T', 'n')
    ),

    published as (
        select r.prpubid, r.prrelid, r.prqual, r.prattrs
        from pg_publication_rel as r
        inner join pg_class as c on r.prrelid = c.oid
        where c.relnamespace in (select s.oid from spaces as s)
    ),

    statements(step, name, text) as (
        -- From nothing: what a new object has without any of this would stay otherwise.
        select 1, e.oid::text, format(
            'alter default privileges for role %%s revoke all on %%s from public, %%1$s',
            e.owner, e.kind
        )
        from everywhere as e

        union all

        select 2, e.oid::text, format(
            'alter default privileges for role %%s grant %%s on %%s to %%s%%s',
            e.owner,
            x.privilege_type,
            e.kind,
            case when x.grantee = 0 then 'public' else x.grantee::regrole::text end,
            case when x.is_grantable then ' with grant option' else '' end
        )
        from everywhere as e
        cross join lateral aclexplode(e.defaclacl) as x

        union all

        select 3, b.pubname::text, format('drop publication if exists %%I', b.pubname)
        from pg_publication as b
        where b.oid in (select p.prpubid from published as p)

        union all

        select 4, b.pubname::text, format(
            'create publication %%I for table %%3$s with (publish = %%2$L%%4$s)',
            b.pubname,
            concat_ws(
                ', ',
                case when b.pubinsert then 'insert' end,
                case when b.pubupdate then 'update' end,
                case when b.pubdelete then 'delete' end,
                case when b.pubtruncate then 'truncate' end
            ),
            (
                select string_agg(
                    concat(
                        'only ', p.prrelid::regclass,
                        ' (' || (
                            select string_agg(quote_ident(t.attname), ', ' order by t.attnum)
                            from pg_attribute as t
                            where t.attrelid = p.prrelid and t.attnum = any(p.prattrs)
                        ) || ')',
                        ' where (' || pg_get_expr(p.prqual, p.prrelid) || ')'
                    ),
                    ', '
                    order by p.prrelid::regclass::text
                )
                from published as p where p.prpubid = b.oid
            ),
            case when b.pubviaroot then ', publish_via_partition_root' end
        )
        from pg_publication as b
        where b.oid in (select p.prpubid from published as p)

        union all

        select 5, b.pubname::text, format(
            'alter publication %%I owner to %%s', b.pubname, b.pubowner::regrole
        )
        from pg_publication as b
        where b.oid in (select p.prpubid from published as p)

        union all

        select 5, v.evtname::text, format(
            'create event trigger %%I on %%s%%s execute function %%s',
            v.evtname,
            v.evtevent,
            (
                select format(' when tag in (%%s)', string_agg(quote_literal(tag), ', '))
                from unnest(v.evttags) as tag
                having count(*) > 0
            ),
            v.evtfoid::regprocedure
        )
        from pg_event_trigger as v
        inner join pg_proc as p on v.evtfoid = p.oid
        where p.pronamespace in (select s.oid from spaces as s)

        union all

        select 6, v.evtname::text, format(
            'alter event trigger %%I %%s',
            v.evtname,
            case v.evtenabled
                when 'D' then 'disable' when 'R' then 'enable replica' when 'A' then 'enable always'
            end
        )
        from pg_event_trigger as v
        inner join pg_proc as p on v.evtfoid = p.oid
        where p.pronamespace in (select s.oid from spaces as s) and v.evtenabled <> 'O'

        union all

        -- What the project has put on the platform's tables: triggers that run its functions, policies.
        select 7, r.oid::text, pg_get_triggerdef(r.oid)
        from pg_trigger as r
        inner join pg_class as c on r.tgrelid = c.oid
        inner join pg_proc as p on r.tgfoid = p.oid
        where
            not r.tgisinternal
            and p.pronamespace in (select s.oid from spaces as s)
            and c.relnamespace not in (select s.oid from spaces as s)

        union all

        select 8, r.oid::text, format(
            'alter table %%s %%s trigger %%I',
            r.tgrelid::regclass,
            case r.tgenabled
                when 'D' then 'disable' when 'R' then 'enable replica' when 'A' then 'enable always'
            end,
            r.tgname
        )
        from pg_trigger as r
        inner join pg_class as c on r.tgrelid = c.oid
        inner join pg_proc as p on r.tgfoid = p.oid
        where
            not r.tgisinternal and r.tgenabled <> 'O'
            and p.pronamespace in (select s.oid from spaces as s)
            and c.relnamespace not in (select s.oid from spaces as s)

        union all

        select 8, l.oid::text, format(
            'comment on policy %%I on %%s is %%L', l.polname, l.polrelid::regclass, k.description
        )
        from pg_policy as l
        inner join pg_class as c on l.polrelid = c.oid
        inner join pg_description as k on k.classoid = 'pg_policy'::regclass and k.objoid = l.oid
        where
            c.relnamespace not in (select s.oid from spaces as s)
            and not exists (
                select from pg_depend as d
                where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
            )

        union all

        select 7, l.oid::text, format(
            'create policy %%I on %%s as %%s for %%s to %%s%%s%%s',
            l.polname,
            l.polrelid::regclass,
            case when l.polpermissive then 'permissive' else 'restrictive' end,
            case l.polcmd
                when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update'
                when 'd' then 'delete' else 'all'
            end,
            (
                select string_agg(case when u = 0 then 'public' else u::regrole::text end, ', ')
                from unnest(l.polroles) as u
            ),
            ' using (' || pg_get_expr(l.polqual, l.polrelid) || ')',
            ' with check (' || pg_get_expr(l.polwithcheck, l.polrelid) || ')'
        )
        from pg_policy as l
        inner join pg_class as c on l.polrelid = c.oid
        inner join pg_namespace as n on c.relnamespace = n.oid
        where
            n.nspname = any(%(hidden)s)
            and not exists (
                select from pg_depend as d
                where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
            )
    )

select s.text from statements as s
order by s.step, s.name, s.text
