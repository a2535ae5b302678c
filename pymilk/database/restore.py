"""Restore a backup with pg_restore, and prove that what is there is what was backed up."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from psycopg import sql

from pymilk.database.catalog import Catalog, Difference, read_catalog
from pymilk.database.configuration import clear_configuration
from pymilk.database.connection import Connection, connect, server_major
from pymilk.database.contents import (
    Table,
    differing_tables,
    read_all_contents,
    read_positions,
    read_tables,
    turned_back,
)
from pymilk.database.dump import JOBS
from pymilk.database.extensions import Extension, Supply, make_each, make_extensions
from pymilk.database.manifest import Backup
from pymilk.database.meter import UNWATCHED, Meter, phase
from pymilk.database.platform import give_keys
from pymilk.database.programs import Programs
from pymilk.database.progress_of_copies import copies_in, looking
from pymilk.database.run_program import Told, run_program, running
from pymilk.database.stamps import without_stamps
from pymilk.problem import Problem

# The first major version that takes all that pg_restore sets for itself.
_KNOWS_ALL = 17
_UNKNOWN_TO_OLDER = (b"SET transaction_timeout = 0;\n",)
# On the platform's tables: a new project has none there.
_POLICIES = """
    select n.nspname, c.relname, l.polname
    from pg_catalog.pg_policy as l
    inner join pg_catalog.pg_class as c on l.polrelid = c.oid
    inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
    where not exists (
        select from pg_catalog.pg_depend as d
        where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
    )
"""
_TOLD = Told(
    "The backup could not be restored", "Nothing was changed in the database it was taken from."
)


def _but_public(line: str) -> bool:
    """All of an archive but the making of `public`, which is there."""
    return " SCHEMA - public " not in line


def _keys_alone(connection: Connection, backup: Backup) -> tuple[str, ...]:
    """For a throw-away copy: the platform's rows are their keys, and every rule holds."""
    give_keys(connection, backup.platform)
    return ()


@dataclass(frozen=True)
class How:
    """What of an archive is restored, and how.

    Attributes:
        told: How a failure is told.
        options: Further options of pg_restore.
        wanted: Which lines of the archive's list to restore.
        extend: Makes extensions in schemas of the backup's own, once these are there.
        keys: Sees to the platform's rows that the restored ones point at, before the rules on them
            are made; gives marks of lines that are left out, then.
    """

    told: Told
    options: tuple[str, ...] = ()
    wanted: Callable[[str], bool] = _but_public
    extend: Callable[[Connection, Iterable[Extension]], None] = make_each
    keys: Callable[[Connection, Backup], tuple[str, ...]] = _keys_alone


_AS_SUPERUSER = How(_TOLD)


def restore(backup: Backup, url: str, programs: Programs, meter: Meter = UNWATCHED) -> Supply:
    """Restore a backup into a throw-away, Supabase-shaped database, in place of what is there.

    Args:
        backup: What to restore.
        url: The database, connected to as a superuser.
        programs: pg_restore's place.
        meter: Who is told how far it is.

    Returns:
        How the extensions that the backup needs are supplied.

    Raises:
        Problem: An extension can't be had, or pg_restore failed; the database may hold a part.
    """
    supply = _make_way(backup, url)
    load(backup, url, programs, meter)
    with connect(url, purpose="restore") as connection:
        for statement in backup.beside:
            connection.execute(statement.encode())
    return supply


def restore_tables(
    backup: Backup, url: str, programs: Programs, tables: Iterable[Table], meter: Meter = UNWATCHED
) -> None:
    """Restore the definitions of a backup and the rows of some tables, without what stands on them.

    Args:
        backup: What to restore from.
        url: A throw-away, Supabase-shaped database, connected to as a superuser.
        programs: pg_restore's place.
        tables: Whose rows.
        meter: Who is told how far it is.

    Raises:
        Problem: pg_restore failed; the database may hold a part.
    """
    _make_way(backup, url)
    pg_restore, dump = str(programs.path("pg_restore")), str(backup.dump)
    marks = [f" TABLE DATA {table.schema} {table.name} " for table in tables]
    wanted = _with_own_extensions(backup, url, programs, _AS_SUPERUSER)
    with (
        phase(meter, "rows"),
        _chosen(pg_restore, dump, _TOLD, wanted) as listed,
    ):
        _define([pg_restore, "--section=pre-data", "--file=-", *listed, dump], programs, url, _TOLD)
    with _chosen(pg_restore, dump, _TOLD, lambda line: any(m in line for m in marks)) as listed:
        run_program(
            [pg_restore, "--exit-on-error", "--section=data", *listed, dump], _TOLD, url=url
        )


def _make_way(backup: Backup, url: str) -> Supply:
    """Drop what is in the way of a backup in a throw-away database, and make what it needs."""
    with connect(url, purpose="restore") as connection:
        for schema in backup.schemas:
            # A dump of chosen schemas creates each of them.
            connection.execute(
                sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(schema))
            )
        _make_public(connection)
        make_missing_roles(connection, backup.roles)
        _clear_platform(connection)
        supply = make_extensions(connection, backup.platform.extensions, backup.own_extensions)
    _refuse_lacking(supply)
    return supply


def _make_public(connection: Connection) -> None:
    """As initdb makes it: pg_dump describes the grants on it relative to that."""
    connection.execute("create schema public authorization pg_database_owner")
    connection.execute("grant usage on schema public to public")


def make_public_anew(url: str) -> None:
    """The same in a new, Supabase-shaped database.

    Args:
        url: As a superuser.
    """
    with connect(url, purpose="restore") as connection:
        connection.execute("drop schema public")
        _make_public(connection)


def _clear_platform(connection: Connection) -> None:
    """Take away what an earlier restore has put into the services' schemas."""
    for schema, table, policy in connection.execute(_POLICIES).fetchall():
        connection.execute(
            sql.SQL("drop policy {} on {}").format(
                sql.Identifier(policy), sql.Identifier(schema, table)
            )
        )
    clear_configuration(connection)


def _refuse_lacking(supply: Supply) -> None:
    if supply.lacking:
        raise Problem(
            "These extensions are not available on the copy, and plain SQL can't stand in for them:"
            f" {', '.join(supply.lacking)}.",
            state="Nothing was changed in the database it was taken from.",
            todo="Make the copy where the real extensions are: in a container, or in an empty"
            " database of your own.",
        )


def load(
    backup: Backup,
    url: str,
    programs: Programs,
    meter: Meter = UNWATCHED,
    how: How = _AS_SUPERUSER,
) -> None:
    """Run pg_restore: definitions, rows, then what stands on the rows.

    Args:
        backup: What to restore.
        url: Where to.
        programs: pg_restore's place.
        meter: Who is told how far it is.
        how: What of it, and how a failure is told.

    Raises:
        Problem: It failed; the database may hold a part.
    """
    pg_restore, dump = str(programs.path("pg_restore")), str(backup.dump)
    copies = copies_in(backup.contents)
    wanted = _with_own_extensions(backup, url, programs, how)
    with (
        _chosen(pg_restore, dump, how.told, wanted) as listed,
        phase(meter, "rows, indexes and constraints", copies.total),
        looking(copies, meter, url),
    ):
        command = [pg_restore, *how.options]
        run = _run_in_parallel if server_major(url) >= _KNOWS_ALL else _pour
        definitions = run_program(
            [*command, *listed, "--file=-", "--section=pre-data", dump], how.told
        )
        if without_stamps(definitions) == definitions and not backup.platform.references:
            # All at once: rows for a table that the same program made go past the log.
            run([*command, *listed, dump], programs, url, how.told)
            return
        _psql(without_stamps(definitions), programs, url, how.told)
        run([*command, *listed, "--section=data", dump], programs, url, how.told)
        with connect(url, purpose="restore") as connection:
            without = how.keys(connection, backup) if backup.platform.references else ()
        with _chosen(
            pg_restore,
            dump,
            how.told,
            lambda line: wanted(line) and not any(mark in line for mark in without),
        ) as rest:
            run([*command, *rest, "--section=post-data", dump], programs, url, how.told)


def _with_own_extensions(
    backup: Backup, url: str, programs: Programs, how: How
) -> Callable[[str], bool]:
    """Make the schemas that extensions are in, and these; gives what is wanted of the rest.

    A dump of schemas has the schema, and not the extension that what follows in it may need.
    """
    if not backup.own_extensions:
        return how.wanted
    marks = tuple({f" SCHEMA - {extension.schema} " for extension in backup.own_extensions})
    pg_restore, dump = str(programs.path("pg_restore")), str(backup.dump)

    def holds_one(line: str) -> bool:
        return any(mark in line for mark in marks)

    with _chosen(pg_restore, dump, how.told, holds_one) as listed:
        _define([pg_restore, *how.options, *listed, "--file=-", dump], programs, url, how.told)
    with connect(url, purpose="restore") as connection:
        how.extend(connection, backup.own_extensions)
    return lambda line: how.wanted(line) and not holds_one(line)


def _run_in_parallel(command: list[str], _programs: Programs, url: str, told: Told) -> None:
    run_program([*command, f"--jobs={JOBS}", "--exit-on-error"], told, url=url)


def _define(printed: list[str], programs: Programs, url: str, told: Told) -> None:
    """Make what a dump defines, without the stamps of the server that it came from."""
    _psql(without_stamps(run_program(printed, told)), programs, url, told)


def _psql(text: str, programs: Programs, url: str, told: Told) -> None:
    if server_major(url) < _KNOWS_ALL:
        lines = text.splitlines(keepends=True)
        text = "".join(line for line in lines if line.encode() not in _UNKNOWN_TO_OLDER)
    run_program(_psql_command(programs), told, url=url, given=text)


def _psql_command(programs: Programs) -> list[str]:
    return [str(programs.path("psql")), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]


def _pour(command: list[str], programs: Programs, url: str, told: Told) -> None:
    """Restore through psql, in one session, without the settings that an older server lacks."""
    with (
        running([*command, "--file=-"], told, piped=True) as source,
        running(_psql_command(programs), told, url=url, fed=True) as psql,
    ):
        with suppress(BrokenPipeError):  # it ended before: then it says why
            for line in source.output:
                if line not in _UNKNOWN_TO_OLDER:
                    psql.input.write(line)
            psql.input.close()
        psql.finish()
        source.finish()


@contextmanager
def _chosen(
    pg_restore: str, dump: str, told: Told, wanted: Callable[[str], bool]
) -> Iterator[list[str]]:
    """The option that restores only what is wanted, of the lines of an archive's list."""
    with tempfile.NamedTemporaryFile("w", suffix=".list", encoding="utf-8") as file:
        file.writelines(
            line
            for line in run_program([pg_restore, "--list", dump], told).splitlines(keepends=True)
            if wanted(line)
        )
        file.flush()
        yield [f"--use-list={file.name}"]


def make_missing_roles(connection: Connection, roles: Iterable[str]) -> tuple[str, ...]:
    """Make owners and grantees that a server lacks, as roles that can't log in; gives those."""
    known = {row[0] for row in connection.execute("select rolname from pg_catalog.pg_roles")}
    missing = tuple(role for role in roles if role not in known)
    for role in missing:
        connection.execute(sql.SQL("create role {} nologin").format(sql.Identifier(role)))
    return missing


@dataclass(frozen=True)
class Compared:
    """A restored database beside the backup that it came from.

    Attributes:
        rows_differ: Tables whose rows differ, and sequences that would give a number twice.
        objects: Objects of the schema that differ.
        catalog: The restored schema.
    """

    rows_differ: tuple[str, ...]
    objects: Difference
    catalog: Catalog


def compare(backup: Backup, connection: Connection) -> Compared:
    """Read everything that a backup describes in a restored database, and compare."""
    contents = read_all_contents(connection, read_tables(connection, backup.schemas))
    behind = turned_back(backup.positions, read_positions(connection, backup.schemas))
    catalog = read_catalog(connection)
    return Compared(
        (
            *(f"rows differ in {table}" for table in differing_tables(backup.contents, contents)),
            *(f"{name} counts from before {position:,} again" for name, position in behind.items()),
        ),
        backup.catalog.difference(catalog),
        catalog,
    )
