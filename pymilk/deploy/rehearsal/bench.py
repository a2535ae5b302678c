"""Where proofs are made: a database with nobody else on it, thrown away or emptied afterwards."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace

from psycopg import conninfo, sql

from pymilk.database.catalog import OWN_SCHEMAS, PLATFORM_SCHEMAS, project_schemas
from pymilk.database.cluster import SUPERUSER
from pymilk.database.connection import Connection, Target, connect
from pymilk.database.default_privileges import forget_default_privileges
from pymilk.database.embedded import EmbeddedServer, scratch
from pymilk.database.lookalike import DefaultPrivileges, make_supabase_shaped
from pymilk.database.programs import find_programs
from pymilk.database.services import stand_in_for_services
from pymilk.deploy.basis.plan import Backend, Bench, CopyAt
from pymilk.problem import Problem, TryAgainLater, UsageProblem
from pymilk.project.policy import Preset

_UNTOUCHED = "Nothing was changed anywhere."
_MARK = "A throw-away copy of pymilk: emptied before and after each rehearsal."
# "pymilk copy", cut to what a lock's number holds: one rehearsal at a time on one database.
_KEY = int.from_bytes(b"milkcopy") >> 1

OpenBench = Callable[[CopyAt, str, int], AbstractContextManager[Bench]]
"""Opens a bench for a copy, of the target at a URL, with its major version."""


@contextmanager
def open_bench(
    copy: CopyAt,
    target_url: str | None,
    major: int,
    privileges: DefaultPrivileges = DefaultPrivileges.CLOSED,
) -> Iterator[Bench]:
    """An empty, Supabase-shaped database to restore into, gone or empty when the block ends.

    Args:
        copy: What kind, and where.
        target_url: The database that is going to be changed, if there is one: never this one.
        major: Its major version, which the copy gets where the kind leaves a choice.
        privileges: What is granted by default. A dump names the grants that there are, and a copy
            must not add its own.

    Raises:
        Problem: It can't be made, or it isn't empty.
    """
    match copy.backend:
        case Backend.EMBEDDED:
            opened = _embedded(privileges)
        case Backend.CONTAINER:
            opened = _container(major, privileges)
        case Backend.URL:
            opened = _at(copy.url, target_url, privileges)
    with opened as bench:
        yield bench


@contextmanager
def server_kept() -> Iterator[OpenBench]:
    """Benches one after the other, embedded ones on one server: starting it takes the longest.

    Between two of them it is empty. It is there until the block ends.
    """
    with ExitStack() as stack:
        started: list[EmbeddedServer] = []

        @contextmanager
        def opening(copy: CopyAt, target_url: str, major: int) -> Iterator[Bench]:
            if copy.backend is not Backend.EMBEDDED:
                with open_bench(copy, target_url, major) as bench:
                    yield bench
                return
            closed = DefaultPrivileges.CLOSED
            if not started:
                started.append(stack.enter_context(scratch(privileges=closed)))
            with _at(started[0].url(user=SUPERUSER), target_url, closed) as bench:
                yield replace(bench, kind="embedded")

        yield opening


@contextmanager
def _embedded(privileges: DefaultPrivileges) -> Iterator[Bench]:
    with scratch(privileges=privileges) as server:
        yield Bench(server.url(), server.url(user=SUPERUSER), find_programs().major, "embedded")


@contextmanager
def _container(major: int, privileges: DefaultPrivileges) -> Iterator[Bench]:
    try:
        from pymilk.database import container  # noqa: PLC0415 - only who asks for it needs Docker
    except ModuleNotFoundError as error:
        raise Problem(
            f"A copy in a container needs a package that isn't installed: {error.name}.",
            state=_UNTOUCHED,
            todo="Install it: pip install 'pymilk[container]'; or rehearse on the embedded server.",
        ) from error
    with container.scratch(major, privileges=privileges) as server:
        yield Bench(server.url(), server.url(user=SUPERUSER), major, "a container")


@contextmanager
def _at(url: str, target_url: str | None, privileges: DefaultPrivileges) -> Iterator[Bench]:
    """A database that somebody has set aside for this."""
    label = Target(url, Preset.LOCAL).label
    with connect(url, purpose="copy") as connection:
        if not _lock(connection, _KEY):
            raise TryAgainLater(
                f"Somebody else rehearses on {label} at this moment.",
                state=_UNTOUCHED,
                todo="Run it again when that has ended.",
            )
        if target_url is not None:
            _refuse_target(connection, target_url, label)
        _refuse_no_superuser(connection, label)
        if _mark(connection) == _MARK:
            _empty(connection)  # what a rehearsal that was killed has left
        _refuse_full(connection, label)
        make_supabase_shaped(url, privileges=privileges)
        stand_in_for_services(url)
        connection.execute(
            sql.SQL("comment on database {} is {}").format(
                sql.Identifier(connection.info.dbname), _MARK
            )
        )
        empty = _empty_tables_of_the_platform(connection)
        try:
            owner_url = conninfo.make_conninfo(url, user="postgres")
            yield Bench(owner_url, url, connection.info.server_version // 10000, label)
        finally:
            _empty(connection)
            # Of auth's users and the like, a restore brings the keys. An extension that the live
            # database lacks went with its tables.
            filled = empty & (
                _tables_of_the_platform(connection) - _empty_tables_of_the_platform(connection)
            )
            if filled:
                connection.execute(
                    sql.SQL("truncate {} cascade").format(
                        sql.SQL(", ").join(sql.Identifier(*table) for table in sorted(filled))
                    )
                )
            connection.execute(
                sql.SQL("comment on database {} is null").format(
                    sql.Identifier(connection.info.dbname)
                )
            )


def _refuse_no_superuser(connection: Connection, label: str) -> None:
    """Default privileges of others, event triggers and owners come back for a superuser alone."""
    row = connection.execute(
        "select r.rolsuper from pg_catalog.pg_roles as r where r.rolname = current_user"
    ).fetchone()
    if not row or not row[0]:
        raise UsageProblem(
            f"{connection.info.user} is no superuser on {label}, and nobody else can restore"
            " everything as it was.",
            state=_UNTOUCHED,
            todo=f"Name the database with its superuser {SUPERUSER}. A hosted project gives that"
            " to nobody: rehearse on the embedded server or in a container.",
        )


def _refuse_target(connection: Connection, target_url: str, label: str) -> None:
    """A lock taken here must not be seen there, whatever names and poolers lie in between."""
    token = secrets.randbits(62)
    _lock(connection, token)
    with connect(target_url, purpose="copy") as target:
        row = target.execute(
            "select exists (select from pg_catalog.pg_locks as l where l.locktype = 'advisory'"
            " and l.granted and (l.classid::bigint << 32) + l.objid::bigint = %s)",
            (token,),
        ).fetchone()
    connection.execute("select pg_advisory_unlock(%s)", (token,))
    if row and row[0]:
        raise UsageProblem(
            f"{label} is on the server that is going to be changed.",
            state=_UNTOUCHED,
            todo="Rehearse on a server of its own: roles and load are shared within one.",
        )


def _refuse_full(connection: Connection, label: str) -> None:
    rows = connection.execute(
        """
        with things as (
            select c.oid, 'pg_class'::regclass as class, c.relnamespace as space, c.relname as name
            from pg_catalog.pg_class as c where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
            union all
            select p.oid, 'pg_proc'::regclass, p.pronamespace, p.proname
            from pg_catalog.pg_proc as p
            union all
            select t.oid, 'pg_type'::regclass, t.typnamespace, t.typname
            from pg_catalog.pg_type as t where t.typtype in ('e', 'd', 'r')
        )
        select n.nspname || '.' || x.name
        from things as x inner join pg_catalog.pg_namespace as n on x.space = n.oid
        where n.nspname = any(%s) and not exists (
            select from pg_catalog.pg_depend as d
            where d.classid = x.class and d.objid = x.oid and d.deptype = 'e'
        )
        order by 1 limit 4
        """,
        ([*project_schemas(connection), *OWN_SCHEMAS, "supabase_migrations"],),
    ).fetchall()
    if rows:
        raise UsageProblem(
            f"{label} isn't empty: {', '.join(row[0] for row in rows)}.",
            state=_UNTOUCHED,
            todo="A copy is made in an empty database and emptied afterwards: name another one.",
        )


def _empty(connection: Connection) -> None:
    """Drop what was restored: it is a copy of live data, and nobody is to find it there."""
    for schema in (*project_schemas(connection), *OWN_SCHEMAS, "supabase_migrations"):
        connection.execute(
            sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(schema))
        )
    connection.execute(
        "create schema public authorization pg_database_owner;"
        "grant usage on schema public to public"
    )
    forget_default_privileges(connection)


def _empty_tables_of_the_platform(connection: Connection) -> frozenset[tuple[str, str]]:
    there = sorted(_tables_of_the_platform(connection))
    if not there:
        return frozenset()
    empty = connection.execute(
        sql.SQL("select {}").format(
            sql.SQL(", ").join(
                sql.SQL("not exists (select from {})").format(sql.Identifier(*table))
                for table in there
            )
        )
    ).fetchone()
    return frozenset(table for table, is_empty in zip(there, empty or (), strict=True) if is_empty)


def _tables_of_the_platform(connection: Connection) -> frozenset[tuple[str, str]]:
    return frozenset(
        connection.execute(
            "select n.nspname, c.relname from pg_catalog.pg_class as c"
            " inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid"
            " where c.relkind in ('r', 'p') and n.nspname = any(%s)"
            " and n.nspname not in ('information_schema', 'supabase_migrations')",
            (list(PLATFORM_SCHEMAS),),
        ).fetchall()
    )


def _mark(connection: Connection) -> str | None:
    row = connection.execute(
        "select shobj_description(d.oid, 'pg_database') from pg_catalog.pg_database as d"
        " where d.datname = current_database()"
    ).fetchone()
    return row[0] if row else None


def _lock(connection: Connection, key: int) -> bool:
    row = connection.execute("select pg_try_advisory_lock(%s)", (key,)).fetchone()
    return bool(row and row[0])
