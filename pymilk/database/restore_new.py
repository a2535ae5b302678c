"""Restore a backup in earnest: into an empty database, as an owner who is no superuser."""

import re
from dataclasses import dataclass

import psycopg
from psycopg import sql

from pymilk.database.catalog import OWN_SCHEMAS, project_schemas
from pymilk.database.connection import Connection, Target, connect, first_line
from pymilk.database.default_privileges import granted_by_default
from pymilk.database.extensions import Added
from pymilk.database.manifest import Backup
from pymilk.database.meter import UNWATCHED, Meter, phase
from pymilk.database.platform import Reference
from pymilk.database.programs import Programs
from pymilk.database.restore import Compared, How, compare, load, make_missing_roles
from pymilk.database.run_program import Told
from pymilk.problem import Problem, UsageProblem
from pymilk.project.policy import Preset

_MARK = "pymilk restores a backup into this database; unfinished, it is begun anew."
_EMPTIED = "What had been restored was removed again: the database is as empty as before."
_LEFT = (
    "The connection was lost, so the database may hold a part of the backup; it is marked as"
    " unfinished, and the next restore into it begins anew."
)


@dataclass(frozen=True)
class Restored:
    """A database that was restored, and how it compares with its backup.

    Attributes:
        compared: Rows (all equal) and objects (told where they differ).
        left: What this role may not make, with the reason.
        lacking: Extensions that aren't there as the backup has them, with the reason.
    """

    compared: Compared
    left: tuple[str, ...]
    lacking: tuple[str, ...]


def restore_into_new(
    backup: Backup, url: str, programs: Programs, meter: Meter = UNWATCHED
) -> Restored:
    """Restore a backup into an empty database, and compare.

    Args:
        backup: What to restore.
        url: The new database, as its owner.
        programs: pg_restore's place.
        meter: Who is told how far it is.

    Raises:
        UsageProblem: The database isn't empty; nothing was changed.
        Problem: It could not be restored, or not every row came back; it is empty again.
    """
    label = Target(url, Preset.LIVE).label
    told = Told(f"The backup could not be restored into {label}", _EMPTIED)
    with connect(url, purpose="restore") as connection:
        if _comment(connection) == _MARK:
            _clear(connection, backup)  # what a restore that was killed has left
        _refuse_full(connection, label)
        _mark(connection, _MARK)
        by_default = granted_by_default(connection)
        added = Added()
        try:
            by_default.take_back(connection)
            for schema in {*backup.schemas} - {"public"}:
                connection.execute(
                    sql.SQL("drop schema if exists {}").format(sql.Identifier(schema))
                )
            make_missing_roles(connection, _named(backup))
            own = backup.own_extensions
            added.add(connection, [each for each in backup.platform.extensions if each not in own])
            others = _others(connection)
            # Owners that we can't be: what is theirs is made ours, and the comparison says so.
            options = ("--no-owner",) if others else ()
            how = How(
                told,
                options,
                wanted=lambda line: _may_be_restored(line, others),
                extend=added.add,
                keys=_without_missing,
            )
            load(backup, url, programs, meter, how)
            left = _make_beside(connection, backup)
            with phase(meter, "comparing"):
                compared = compare(backup, connection)
            _refuse_lost_rows(compared, told)
            with phase(meter, "statistics for the planner"):
                connection.execute("analyze")
            _mark(connection, None)
        except BaseException as error:
            try:
                _clear(connection, backup)
                by_default.give_again(connection)
                added.take_away(connection)
                _mark(connection, None)
            except psycopg.OperationalError:
                if isinstance(error, Problem):
                    error.state = _LEFT
            if isinstance(error, Problem) and added.lacking:
                error.happened += f" Extensions not there: {'; '.join(added.lacking)}."
            raise
    return Restored(compared, left, tuple(added.lacking))


def _refuse_full(connection: Connection, label: str) -> None:
    """Never over something that is there."""
    schemas = [*project_schemas(connection), "supabase_migrations", *OWN_SCHEMAS]
    row = connection.execute(
        """
        select o.name
        from (
            select c.oid, 'pg_class'::regclass, c.relnamespace, c.relname from pg_class as c
            union all
            select p.oid, 'pg_proc'::regclass, p.pronamespace, p.proname from pg_proc as p
        ) as o (oid, class, space, name)
        inner join pg_namespace as n on o.space = n.oid
        where
            n.nspname = any(%s)
            and not exists (
                select from pg_depend as d
                where d.classid = o.class and d.objid = o.oid and d.deptype = 'e'
            )
        limit 1
        """,
        (schemas,),
    ).fetchone()
    if row is not None:
        raise UsageProblem(
            f"{label} is not empty: there is {row[0]}, for one.",
            state="Nothing was changed; nothing is ever restored over what is there.",
            todo="Name an empty database: a new project's, or one more in the same server. Single"
            " tables come back beside the live ones: pymilk restore --table NAME",
        )


def _refuse_lost_rows(compared: Compared, told: Told) -> None:
    if compared.rows_differ:
        raise Problem(
            f"{told.what} as it was: {'; '.join(compared.rows_differ[:5])}",
            state=told.state,
            todo="Don't rely on this backup; use an older one: pymilk restore BACKUP",
        )


def _without_missing(connection: Connection, backup: Backup) -> tuple[str, ...]:
    """Foreign keys to rows of the platform (accounts, mostly) that this project doesn't have.

    Nobody's account can be made up; the keys are left out, and told as a difference.
    """
    marks = []
    for one in backup.platform.references:
        if not _lack(connection, one):
            continue
        table, to = (
            sql.Identifier(*names).as_string(connection).replace('"', "")
            for names in ((one.schema, one.table), (one.to_schema, one.to_table))
        )
        for name, rule in backup.catalog.objects.items():
            plain = name.replace('"', "")
            if plain.startswith(f"constraint {table} ") and f" REFERENCES {to}(" in rule:
                constraint = plain.removeprefix(f"constraint {table} ")
                marks.append(f" FK CONSTRAINT {one.schema} {one.table} {constraint} ")
    return tuple(marks)


def _lack(connection: Connection, one: Reference) -> bool:
    """Whether restored rows point at rows that aren't there."""
    same = sql.SQL(" and ").join(
        sql.SQL("t.{} = m.{}").format(sql.Identifier(theirs), sql.Identifier(mine))
        for mine, theirs in zip(one.columns, one.to_columns, strict=True)
    )
    filled = sql.SQL(" and ").join(
        sql.SQL("m.{} is not null").format(sql.Identifier(column)) for column in one.columns
    )
    row = connection.execute(
        sql.SQL(
            "select exists (select from {table} as m where {filled}"
            " and not exists (select from {to} as t where {same}))"
        ).format(
            table=sql.Identifier(one.schema, one.table),
            to=sql.Identifier(one.to_schema, one.to_table),
            filled=filled,
            same=same,
        )
    ).fetchone()
    return bool(row and row[0])


def _may_be_restored(line: str, others: frozenset[str]) -> bool:
    """Whether a line of an archive's list is for us: defaults of others are theirs to set."""
    is_public = " SCHEMA - public " in line
    return not is_public and not (" DEFAULT ACL " in line and line.rsplit(maxsplit=1)[-1] in others)


def _others(connection: Connection) -> frozenset[str]:
    """The roles that we may not act as; none for a superuser."""
    rows = connection.execute(
        "select rolname from pg_roles where not pg_has_role(current_user, oid, 'member')"
    )
    return frozenset(row[0] for row in rows)


def _named(backup: Backup) -> tuple[str, ...]:
    """The roles that the backup's own objects name, as owners or grantees."""
    text = "\n".join((*backup.catalog.objects.values(), *backup.beside))
    return tuple(role for role in backup.roles if re.search(rf"\b{re.escape(role)}\b", text))


def _make_beside(connection: Connection, backup: Backup) -> tuple[str, ...]:
    left = []
    for statement in backup.beside:
        try:
            connection.execute(statement.encode())
        except psycopg.errors.InsufficientPrivilege as error:
            left.append(f"{statement}: {first_line(error)}")
    return tuple(left)


def _clear(connection: Connection, backup: Backup) -> None:
    """Empty a database that was empty before us; `public` keeps its grants and its comment."""
    again = connection.execute(
        b"""
        select 1, format(
            'grant %s on schema public to %s%s',
            x.privilege_type,
            case when x.grantee = 0 then 'public' else x.grantee::regrole::text end,
            case when x.is_grantable then ' with grant option' else '' end
        )
        from pg_namespace as n
        cross join lateral aclexplode(n.nspacl) as x
        where n.nspname = 'public' and x.grantee <> n.nspowner
        union all
        select 2, format('comment on schema public is %L', obj_description(n.oid, 'pg_namespace'))
        from pg_namespace as n where n.nspname = 'public'
        order by 1, 2
        """
    ).fetchall()
    for schema in backup.schemas:
        connection.execute(
            sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(schema))
        )
    connection.execute("create schema if not exists public authorization pg_database_owner")
    for _, statement in again:
        connection.execute(statement.encode())


def _comment(connection: Connection) -> str | None:
    row = connection.execute(
        "select shobj_description(d.oid, 'pg_database') from pg_database as d"
        " where d.datname = current_database()"
    ).fetchone()
    return row[0] if row else None


def _mark(connection: Connection, words: str | None) -> None:
    """Note on the database itself that it is half-made: whoever comes next can tell."""
    database = sql.Identifier(connection.info.dbname)
    connection.execute(sql.SQL("comment on database {} is {}").format(database, words))
