"""Back up with pg_dump: a folder, a manifest from the same snapshot, nothing half-made."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg import sql

from pymilk.database import lockfile
from pymilk.database.beside import read_beside
from pymilk.database.catalog import OWN_SCHEMAS, project_schemas, read_catalog
from pymilk.database.connection import Connection, Target, connect, first_line
from pymilk.database.contents import Table, read_contents, read_positions, read_tables
from pymilk.database.critical import chosen, export_critical
from pymilk.database.left_out import read_left_out
from pymilk.database.loader import LOADER
from pymilk.database.manifest import CRITICAL, DUMP, Backup, seal
from pymilk.database.meter import UNWATCHED, Meter, phase
from pymilk.database.platform import read_platform
from pymilk.database.programs import Programs
from pymilk.database.progress_of_copies import copies_out, looking
from pymilk.database.run_program import Told, run_program, running
from pymilk.database.sessions import since
from pymilk.database.stamps import without_stamps
from pymilk.problem import Problem, TryAgainLater
from pymilk.project.policy import Preset

JOBS = "2"

_PARTIAL = ".partial"
_LOCK = ".lock"
_LOCK_WAIT = "10s"
# Compressing less takes a third of the time for a sixth more of disk: it pays for the fingerprints.
_COMPRESSION = "gzip:1"
_LEFT = "Nothing was changed in the database; the unfinished backup was removed."


@dataclass(frozen=True)
class _Job:
    """What is to be backed up, and with what."""

    url: str
    programs: Programs
    critical: tuple[str, ...]
    meter: Meter


def take_backup(
    url: str,
    programs: Programs,
    folder: Path,
    *,
    critical: Iterable[str] = (),
    meter: Meter = UNWATCHED,
) -> Backup:
    """Dump what belongs to the project, and describe it from the same snapshot.

    Args:
        url: The database.
        programs: pg_dump's place.
        folder: The new backup's folder; it appears only once everything in it is proven written.
        critical: Tables (`payments` or `public.payments`) to export as CSV too, where they exist.
        meter: Who is told how far it is.

    Raises:
        Problem: The dump failed; nothing is left behind.
        TryAgainLater: A table is locked.
    """
    try:
        with _unfinished(folder) as partial, connect(url, purpose="backup") as connection:
            job = _Job(url, programs, tuple(critical), meter)
            backup = _describe_and_dump(connection, job, partial)
            partial.rename(folder)
            return replace(backup, folder=folder)
    except OSError as error:
        raise Problem(
            f"The backup could not be written: {error.strerror or error} ({folder}).",
            state=_LEFT,
            todo="Make room on that disk, then run it again.",
        ) from error
    except psycopg.OperationalError as error:
        raise Problem(
            f"The backup failed, the connection was lost: {first_line(error)}",
            state=_LEFT,
            todo="Run it again.",
        ) from error


def remove_unfinished(backups: Path) -> None:
    """Remove what killed backups have left in a folder of backups; running ones are left alone."""
    for lock in backups.glob(f"*{_LOCK}"):
        try:
            with lockfile.held_if_free(lock):
                shutil.rmtree(lock.with_suffix(_PARTIAL), ignore_errors=True)
                lock.unlink()
        except (BlockingIOError, FileNotFoundError):
            continue


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """A place to make a backup in.

    Its lock, made before it and gone after it, tells it from what a killed process has left.
    """
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial, lock = (folder.with_name(folder.name + suffix) for suffix in (_PARTIAL, _LOCK))
    with lockfile.held(lock):
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(mode=0o700)
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            lock.unlink()


def _describe_and_dump(connection: Connection, job: _Job, partial: Path) -> Backup:
    schemas = _schemas_to_back_up(connection)
    tables = read_tables(connection, schemas)
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read, read only")
        # Before the snapshot: what it shows must still be there when it is read.
        _lock(connection, tables)
        snapshot, taken_at = _export_snapshot(connection)
        tables = read_tables(connection, schemas)
        positions = read_positions(connection, schemas)
        copies = copies_out(connection, schemas)
        with (
            phase(job.meter, "dump and fingerprints", 2 * copies.total),
            looking(copies, job.meter, job.url),
            running(
                _dump_command(job.programs, partial / DUMP, schemas, snapshot),
                Told("The backup failed", _LEFT),
                url=job.url,
            ) as dump,
        ):
            # pg_dump works for us on this machine meanwhile, and the server for both.
            contents = {}
            for table in tables:
                contents[table.qualified] = read_contents(connection, table, table.columns)
                copies.have_read(table)
                if dump.process.poll():
                    break  # it failed: there is no need to read on
            dump.finish()
        exported = export_critical(connection, chosen(tables, job.critical), partial / CRITICAL)
        described = Backup(
            folder=partial,
            taken_at=taken_at.astimezone(UTC),
            taken_from=Target(job.url, Preset.LIVE).label,
            server_major=connection.info.server_version // 10000,
            schemas=schemas,
            roles=_roles(connection),
            contents=contents,
            positions=positions,
            catalog=read_catalog(connection),
            beside=read_beside(connection),
            critical=exported,
            left_out=read_left_out(connection),
            files={},
            bytes=0,
            platform=read_platform(connection),
        )
    with phase(job.meter, "checksums"):
        return seal(described)


def schema_text(url: str, programs: Programs, schemas: Iterable[str], *, data: bool = False) -> str:
    """pg_dump's own text of some schemas, comparable between runs: the independent oracle."""
    text = run_program(
        [
            str(programs.path("pg_dump")),
            "--restrict-key=pymilk",
            *([] if data else ["--schema-only"]),
            *(f"--schema={_exactly(schema)}" for schema in schemas),
        ],
        Told("The schema could not be dumped", "Nothing was changed."),
        url=url,
    )
    return without_stamps(text)


def _schemas_to_back_up(connection: Connection) -> tuple[str, ...]:
    kept = ("supabase_migrations", *OWN_SCHEMAS)
    present = connection.execute(
        "select nspname from pg_catalog.pg_namespace where nspname = any(%s) order by 1",
        (list(kept),),
    ).fetchall()
    return (*project_schemas(connection), *(row[0] for row in present))


def _lock(connection: Connection, tables: tuple[Table, ...]) -> None:
    """Keep the tables from being changed in their shape; whoever reads or writes is let be.

    Raises:
        TryAgainLater: Somebody holds one for himself.
    """
    if not tables:
        return
    connection.execute(sql.SQL("set local lock_timeout = {}").format(sql.Literal(_LOCK_WAIT)))
    try:
        with connection.transaction():
            connection.execute(
                sql.SQL("lock table {} in access share mode").format(
                    sql.SQL(", ").join(
                        sql.SQL("only {}").format(table.identifier) for table in tables
                    )
                )
            )
    except psycopg.errors.LockNotAvailable as error:
        raise TryAgainLater(
            f"A table is locked: {_in_the_way(connection, tables)}.",
            state="Nothing was changed; no backup was begun.",
            todo="Wait until it has ended, then run it again.",
        ) from error
    except psycopg.errors.UndefinedTable as error:
        raise TryAgainLater(
            f"The schema changes at this moment: {first_line(error)}.",
            state="Nothing was changed; no backup was begun.",
            todo="Run it again when that has ended.",
        ) from error


def _in_the_way(connection: Connection, tables: tuple[Table, ...]) -> str:
    row = connection.execute(
        "select l.relation::regclass::text, a.pid, a.usename, a.application_name, a.xact_start"
        " from pg_catalog.pg_locks as l"
        " inner join pg_catalog.pg_stat_activity as a on l.pid = a.pid"
        " where l.granted and l.mode = 'AccessExclusiveLock'"
        " and l.relation = any(%s::pg_catalog.regclass[]::oid[]) limit 1",
        ([table.identifier.as_string(connection) for table in tables],),
    ).fetchone()
    if row is None:
        return "by somebody who has ended since"
    table, process, user, application, began = row
    return f"{table} by {user} ({application or 'no name'}, process {process}), {since(began)}"


def _dump_command(
    programs: Programs, folder: Path, schemas: tuple[str, ...], snapshot: str
) -> list[str]:
    return [
        str(programs.path("pg_dump")),
        "--format=directory",
        f"--compress={_COMPRESSION}",
        f"--jobs={JOBS}",
        f"--snapshot={snapshot}",
        f"--lock-wait-timeout={_LOCK_WAIT}",
        "--strict-names",
        *(f"--schema={_exactly(schema)}" for schema in schemas),
        f"--file={folder}",
    ]


def _exactly(name: str) -> str:
    """A name as a pattern of pg_dump that matches this name alone, in its own case."""
    return '"' + name.replace('"', '""') + '"'


def _export_snapshot(connection: Connection) -> tuple[str, datetime]:
    row = connection.execute("select pg_export_snapshot(), now()").fetchone()
    if row is None:
        raise LookupError("select without from gives a row")
    return str(row[0]), row[1]


def _roles(connection: Connection) -> tuple[str, ...]:
    rows = connection.execute("select rolname from pg_roles where rolname !~ '^pg_' order by 1")
    return tuple(row[0] for row in rows if row[0] != LOADER)
