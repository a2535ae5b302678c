"""`restore --table`: tables of a backup beside the live ones, in a schema of their own.

Nothing that is there is touched: people look, compare, and decide. The rows are proven on a
throw-away server first, and once more where they are put.
"""

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from psycopg import sql

from pymilk.database.connection import Connection, Target, connect
from pymilk.database.contents import Table, read_contents, read_key, read_tables
from pymilk.database.critical import in_public
from pymilk.database.ledger import Event, Kind, ledger_exists, prepare_ledger, record
from pymilk.database.manifest import Backup, read_backup
from pymilk.database.meter import UNWATCHED, Meter, phase
from pymilk.database.programs import Programs
from pymilk.database.restore import restore_tables
from pymilk.database.restore_new import restore_into_new
from pymilk.database.table_copy import carry, definition, equal, known_types, read_columns
from pymilk.deploy.basis.plan import Bench
from pymilk.problem import Problem, UsageProblem

_UNTOUCHED = "Nothing was changed in the live database."


@dataclass(frozen=True)
class Wanted:
    """Tables of a backup, restored on the bench and proven there.

    Attributes:
        backup: Where they come from.
        tables: They, on the bench.
        bench: Connected to it.
    """

    backup: Backup
    tables: tuple[Table, ...]
    bench: Connection


@dataclass(frozen=True)
class BroughtBeside:
    """Tables of a backup that stand beside the live ones now.

    Attributes:
        schema: The schema that they stand in.
        tables: Live table → rows of it in the backup.
        taken_at: The moment that they are of.
        moment: The same in words: at a time, or in a file of others.
        seconds: How long it took.
    """

    schema: str
    tables: dict[str, int]
    taken_at: datetime
    moment: str
    seconds: float


@contextmanager
def wanted_tables(
    folder: Path,
    names: tuple[str, ...],
    bench: Bench,
    programs: Programs,
    meter: Meter = UNWATCHED,
) -> Iterator[Wanted]:
    """Restore some tables of a backup on the bench, and prove them.

    Raises:
        UsageProblem: The backup has no such table, or it is partitioned.
        Problem: It was altered, or its rows don't come back as they were.
    """
    backup = read_backup(folder)
    named = tuple(dict.fromkeys(map(in_public, names)))
    unknown = [name for name in named if name not in backup.contents]
    if unknown:
        raise _not_there(backup, unknown[0])
    parts = [name.partition(".") for name in named]
    chosen = tuple(Table(schema, name, ()) for schema, _, name in parts)
    if backup.is_of_others:  # whole: a table's functions and types are in the rest of it
        url = bench.owner_url
        restore_into_new(backup, url, programs, meter)
    else:
        url = bench.superuser_url
        restore_tables(backup, url, programs, chosen, meter)
    with connect(url, purpose="restore") as connection:
        tables = tuple(
            table for table in read_tables(connection, backup.schemas) if table.qualified in named
        )
        for table in tables:
            if read_contents(connection, table, table.columns) != backup.contents[table.qualified]:
                raise Problem(
                    f"{table.qualified} doesn't come back from {folder.name} as it was.",
                    state=_UNTOUCHED,
                    todo="Use an older backup: pymilk restore BACKUP --table …",
                )
        yield Wanted(backup, tables, connection)


def _not_there(backup: Backup, name: str) -> UsageProblem:
    partitions = _partitions(backup, name)
    if not partitions:
        return UsageProblem(
            f"The backup {backup.folder.name} has no table {name}.",
            state=_UNTOUCHED,
            todo=f"It has: {', '.join(sorted(backup.contents))}.",
        )
    return UsageProblem(
        f"{name} is partitioned: its rows are in its partitions, and come back with those.",
        state=_UNTOUCHED,
        todo=f"Name them: {' '.join(f'--table {shlex.quote(each)}' for each in partitions)}",
    )


def _partitions(backup: Backup, name: str) -> tuple[str, ...]:
    """The tables that hold the rows of a partitioned one, down to the last division."""
    start = f"partition of {name} "
    # Names are quoted in the catalog where they have to be, and nowhere else.
    tables = {
        table.removeprefix("table ").replace('"', ""): text.replace('"', "").splitlines()
        for table, text in backup.catalog.objects.items()
        if table.startswith("table ")
    }
    parts = [
        each for each, lines in tables.items() if any(line.startswith(start) for line in lines)
    ]
    return tuple(
        leaf
        for part in sorted(parts)
        for leaf in ((part,) if part in backup.contents else _partitions(backup, part))
    )


def bring_beside(wanted: Wanted, target: Target, meter: Meter = UNWATCHED) -> BroughtBeside:
    """Put the tables into a schema of their own in the live database, in one transaction.

    Raises:
        UsageProblem: They stand there already.
        Problem: They can't be put there; nothing was changed.
    """
    started = time.monotonic()
    schema = f"restored_{wanted.backup.taken_at:%Y%m%d_%H%M%S}"
    with (
        phase(meter, "putting them beside the live ones"),
        connect(target.url, purpose="restore") as live,
        live.transaction(),
    ):
        live.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(schema)))
        live.execute(sql.SQL("revoke all on schema {} from public").format(sql.Identifier(schema)))
        rows = {table.qualified: _bring(wanted, table, live, schema) for table in wanted.tables}
        seconds = time.monotonic() - started
        brought = BroughtBeside(schema, rows, wanted.backup.taken_at, wanted.backup.moment, seconds)
        tell_ledger(live, wanted.backup, {"schema": schema, "tables": rows})
    return brought


def tell_ledger(live: Connection, backup: Backup, facts: dict[str, object]) -> None:
    """Write a restore of tables into the ledger, if there is one, in the caller's transaction."""
    if ledger_exists(live):
        prepare_ledger(live)
        record(live, Event(Kind.RESTORE, {"folder": backup.folder.name, **facts}))


def _bring(wanted: Wanted, table: Table, live: Connection, schema: str) -> int:
    copy = Table(schema, table.name, table.columns)
    if read_columns(live, copy):
        raise UsageProblem(
            f"{schema}.{table.name} is there already.",
            state=_UNTOUCHED,
            todo=f"Look at it, or remove it first: drop schema {schema} cascade",
        )
    columns = known_types(live, read_columns(wanted.bench, table))
    live.execute(sql.SQL("create table {} ({})").format(copy.identifier, definition(columns)))
    carry(wanted.bench, table, columns, live, copy.identifier)
    key = read_key(wanted.bench, table)
    if key:
        live.execute(
            sql.SQL("alter table {} add primary key ({})").format(
                copy.identifier, sql.SQL(", ").join(map(sql.Identifier, key))
            )
        )
    told = f"{table.qualified} as it was {wanted.backup.moment}"
    live.execute(sql.SQL("comment on table {} is {}").format(copy.identifier, told))
    if not equal(wanted.bench, table, live, copy, table.columns):
        raise Problem(
            f"{table.qualified} did not arrive as it was.",
            state=_UNTOUCHED,
            todo="Run it again; if it happens again, restore into a new database: pymilk restore",
        )
    return wanted.backup.contents[table.qualified].rows
