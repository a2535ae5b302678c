"""Test a backup that others made: what comes back of it, and what it has beside the live database.

No fingerprints were taken when it was made; what can be counted are the rows in the file.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from psycopg import sql

from pymilk.database.catalog import PLATFORM_SCHEMAS, project_schemas
from pymilk.database.connection import Connection, Target, connect
from pymilk.database.contents import Table, read_contents, read_tables
from pymilk.database.dump_file import DumpFile, taken_at, text_of
from pymilk.database.load_text import Loaded, NotTaken, counted, load_text
from pymilk.database.loader import Loader, make_loader
from pymilk.database.meter import UNWATCHED, Meter, phase
from pymilk.database.programs import Programs
from pymilk.problem import Problem

# Columns that tell how new a row is, by the habit of Supabase projects.
_MOMENTS = ("updated_at", "created_at")
_UNKNOWN = "unknown"


@dataclass(frozen=True)
class Beside:
    """One table in the backup and live.

    Attributes:
        table: Its name.
        backup: Rows in the backup; none where it isn't in it.
        live: Rows live; none where it isn't there.
        newest_in_backup: The newest moment that a row of it bears, where rows bear one.
        newest_live: The same of the live table.
        verdict: What that means, in words.
    """

    table: str
    backup: int | None
    live: int | None
    newest_in_backup: str | None
    newest_live: str | None
    verdict: str


@dataclass(frozen=True)
class FileTested:
    """What can be said of a backup that others made.

    Attributes:
        file: What was tested.
        taken: When it was made, in words, with where that is known from.
        taken_at: The same as nearly as can be told: the file's own date, where nothing else does.
        server_version: Of the server it was taken from.
        databases: The databases with tables in it.
        tables: Table → (rows in the file, rows that came back); the platform's are among them.
        seconds: How long loading took, one statement after the other.
        roles: Roles that it names and doesn't make: they must be there before a restore.
        extensions: Extensions that this throw-away server doesn't have.
        refused: Other statements that it did not take.
        beside: The live database's tables beside it, where one was named.
        loaded: Database in the dump → its name on the throw-away server.
        loader: Whose they are there.
    """

    file: DumpFile
    taken: str
    taken_at: datetime
    server_version: str
    databases: tuple[str, ...]
    tables: Mapping[str, tuple[int, int]]
    seconds: float
    roles: tuple[str, ...]
    extensions: tuple[str, ...]
    refused: tuple[NotTaken, ...]
    beside: tuple[Beside, ...]
    loaded: Mapping[str, str] = field(repr=False)
    loader: Loader = field(repr=False)

    @property
    def not_back(self) -> tuple[str, ...]:
        """Tables of the project's own of which not every row came back."""
        return tuple(
            name
            for name, (inside, back) in self.tables.items()
            if inside != back and not is_platforms(name)
        )


def is_platforms(table: str) -> bool:
    """Whether a table is the platform's own; its name may begin with a database's."""
    return (
        table.rsplit(": ", maxsplit=1)[-1].split(".", maxsplit=1)[0].strip('"') in PLATFORM_SCHEMAS
    )


def prove_file(
    dump: DumpFile,
    server_url: str,
    programs: Programs,
    live: Target | None = None,
    meter: Meter = UNWATCHED,
) -> FileTested:
    """Load a dump into a throw-away server, count what came back, lay it beside the live database.

    Args:
        dump: The file.
        server_url: The superuser's URL of a throw-away server.
        programs: pg_restore's place.
        live: What it is a backup of; it is only read.
        meter: Who watches.

    Raises:
        Problem: It is damaged, or there is nothing in it.
    """
    made = taken_at(dump, programs)
    started = time.monotonic()
    with phase(meter, "loading"), text_of(dump, programs) as lines:
        loader = make_loader(server_url)
        loaded = load_text(lines, loader, "the database")
    seconds = time.monotonic() - started
    back = counted(loaded, loader)
    tables = {
        _named(database, table, loaded): (loaded.rows.get((database, table), 0), rows)
        for database, table in sorted({*loaded.rows, *back})
        for rows in [back.get((database, table), 0)]
    }
    if not tables:
        raise Problem(
            f"There is no table in {dump.path.name}: it is the backup of nothing.",
            state="Nothing was changed.",
            todo="Take one that holds the data: pymilk backup, or the dashboard.",
        )
    return FileTested(
        file=dump,
        taken=_taken(dump, made, loaded),
        taken_at=made[0] if made else datetime.fromtimestamp(dump.path.stat().st_mtime, UTC),
        server_version=loaded.version or _UNKNOWN,
        databases=_with_tables(loaded, back),
        tables=tables,
        seconds=seconds,
        roles=tuple(loaded.roles),
        extensions=_extensions(loaded),
        refused=tuple(each for each in loaded.refused if not _is_extension(each)),
        beside=_lay_beside(loaded, back, loader, live) if live else (),
        loaded=loaded.databases,
        loader=loader,
    )


def _named(database: str, table: str, loaded: Loaded) -> str:
    """A table's name; with its database where the dump has several."""
    several = len({name for name, _ in loaded.rows}) > 1
    return f"{database}: {table}" if several else table


def _taken(dump: DumpFile, made: tuple[datetime, str] | None, loaded: Loaded) -> str:
    if made is not None:
        return f"{made[0]:%Y-%m-%d %H:%M:%S} {made[1]}".strip()
    if loaded.started:
        return loaded.started
    changed = datetime.fromtimestamp(dump.path.stat().st_mtime, UTC)
    return f"it doesn't say; the file is of {changed:%Y-%m-%d %H:%M} UTC"


def _with_tables(loaded: Loaded, back: Mapping[tuple[str, str], int]) -> tuple[str, ...]:
    found = {database for database, _ in (*loaded.rows, *back)}
    return tuple(name for name in loaded.databases if name in found)


def _is_extension(refused: NotTaken) -> bool:
    return refused.words.startswith(("create extension", "comment on extension"))


def _extensions(loaded: Loaded) -> tuple[str, ...]:
    names = (
        refused.words.removeprefix("create extension ").removeprefix("if not exists ").split()[0]
        for refused in loaded.refused
        if refused.words.startswith("create extension")
    )
    return tuple(dict.fromkeys(names))


def _lay_beside(
    loaded: Loaded, back: Mapping[tuple[str, str], int], loader: Loader, live: Target
) -> tuple[Beside, ...]:
    inside = _with_tables(loaded, back)
    with connect(live.url, purpose="restore test") as there:
        database = there.info.dbname if there.info.dbname in inside else inside[0]
        with loader.session(loaded.databases[database]) as here:
            mine, theirs = (
                {table.qualified: table for table in read_tables(side, project_schemas(side))}
                for side in (here, there)
            )
            return tuple(
                _beside(name, (here, mine.get(name)), (there, theirs.get(name)))
                for name in sorted({*mine, *theirs})
            )


def _beside(
    name: str, mine: tuple[Connection, Table | None], theirs: tuple[Connection, Table | None]
) -> Beside:
    rows_here, newest_here = _read(*mine)
    rows_there, newest_there = _read(*theirs)
    if rows_here is None:
        verdict = "not in the backup"
    elif rows_there is None:
        verdict = "not there live"
    elif _equal(mine, theirs):
        verdict = "the same, row for row"
    elif newest_here and newest_there and newest_here != newest_there:
        verdict = "live is newer" if newest_there > newest_here else "the backup is newer"
    else:
        verdict = "differs"
    return Beside(name, rows_here, rows_there, newest_here, newest_there, verdict)


def _read(connection: Connection, table: Table | None) -> tuple[int | None, str | None]:
    if table is None:
        return None, None
    moments = [sql.Identifier(name) for name in _MOMENTS if name in table.columns]
    newest = (
        sql.SQL("max(greatest({}))::timestamptz(0)::text").format(sql.SQL(", ").join(moments))
        if moments
        else sql.SQL("null")
    )
    row = connection.execute(
        sql.SQL("select count(*), {} from only {}").format(newest, table.identifier)
    ).fetchone()
    return (int(row[0]), row[1]) if row else (0, None)


def _equal(mine: tuple[Connection, Table | None], theirs: tuple[Connection, Table | None]) -> bool:
    (here, table), (there, other) = mine, theirs
    if table is None or other is None or table.columns != other.columns:
        return False
    return read_contents(here, table, table.columns) == read_contents(there, other, other.columns)
