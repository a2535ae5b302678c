"""Restore a backup with pg_restore, and prove that what is there is what was backed up."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg import sql

from pymilk.database.catalog import Catalog, Difference, read_catalog
from pymilk.database.connection import Connection, connect
from pymilk.database.contents import (
    differing_tables,
    read_all_contents,
    read_positions,
    read_tables,
    turned_back,
)
from pymilk.database.dump import JOBS
from pymilk.database.extensions import Supply, make_extensions
from pymilk.database.manifest import Backup
from pymilk.database.meter import UNWATCHED, Meter, phase
from pymilk.database.platform import give_keys
from pymilk.database.programs import Programs
from pymilk.database.progress_of_copies import copies_in, looking
from pymilk.database.run_program import Told, run_program
from pymilk.database.stamps import without_stamps
from pymilk.problem import Problem

_TOLD = Told(
    "The backup could not be restored", "Nothing was changed in the database it was taken from."
)


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
    with connect(url, purpose="restore") as connection:
        for schema in backup.schemas:
            # A dump of chosen schemas creates each of them.
            connection.execute(
                sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(schema))
            )
        # Except that pg_dump describes the grants on `public` relative to what initdb made.
        connection.execute("create schema public authorization pg_database_owner")
        connection.execute("grant usage on schema public to public")
        make_missing_roles(connection, backup.roles)
        supply = make_extensions(connection, backup.platform.extensions)
        _refuse_lacking(supply)
    load(backup, url, programs, meter)
    with connect(url, purpose="restore") as connection:
        for statement in backup.beside:
            connection.execute(statement.encode())
    return supply


def _refuse_lacking(supply: Supply) -> None:
    if supply.lacking:
        raise Problem(
            f"This copy can't have what the database has: {', '.join(supply.lacking)}"
            " (no stand-in in plain SQL would be honest).",
            state="Nothing was changed in the database it was taken from.",
            todo="Make the copy where the real extensions are: in a container, or in an empty"
            " database of your own.",
        )


def load(
    backup: Backup,
    url: str,
    programs: Programs,
    meter: Meter = UNWATCHED,
    *,
    told: Told = _TOLD,
) -> None:
    """Run pg_restore: definitions, rows, then what stands on the rows.

    Raises:
        Problem: It failed; the database may hold a part.
    """
    pg_restore, dump = str(programs.path("pg_restore")), str(backup.dump)
    copies = copies_in(backup.contents)
    with (
        _chosen(pg_restore, dump, told) as listed,
        phase(meter, "rows, indexes and constraints", copies.total),
        looking(copies, meter, url),
    ):
        definitions = run_program(
            [pg_restore, "--section=pre-data", "--file=-", *listed, dump], told
        )
        parallel = [pg_restore, f"--jobs={JOBS}", "--exit-on-error", *listed]
        points_out = backup.platform.references
        if without_stamps(definitions) == definitions and not points_out:
            # All at once: rows for a table that the same program made go past the log.
            run_program([*parallel, dump], told, url=url)
            return
        psql = [str(programs.path("psql")), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]
        run_program(psql, told, url=url, given=without_stamps(definitions))
        if not points_out:
            run_program([*parallel, "--section=data", "--section=post-data", dump], told, url=url)
            return
        run_program([*parallel, "--section=data", dump], told, url=url)
        with connect(url, purpose="restore") as connection:
            give_keys(connection, backup.platform)
        run_program([*parallel, "--section=post-data", dump], told, url=url)


@contextmanager
def _chosen(pg_restore: str, dump: str, told: Told) -> Iterator[list[str]]:
    """The option that leaves out the making of `public`, which is there."""
    with tempfile.NamedTemporaryFile("w", suffix=".list", encoding="utf-8") as file:
        file.writelines(
            line
            for line in run_program([pg_restore, "--list", dump], told).splitlines(keepends=True)
            if " SCHEMA - public " not in line
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
