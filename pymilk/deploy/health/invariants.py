"""Read a project's invariants in one snapshot, each by itself: one that fails hides no other.

An invariant is a file with a query; every row that it gives is a violation. The comment at its head
says what it means, and after `do:` what to do about a violation. The first two columns name what
violates it: what kind of thing, and which one; further ones may say more.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from pymilk.database.connection import Connection, Target, connect
from pymilk.deploy.basis.sample import Row
from pymilk.deploy.health.readings import read_query
from pymilk.problem import UsageProblem
from pymilk.project.migrations import Script
from pymilk.project.query_header import read_header


@dataclass(frozen=True)
class Invariant:
    """One invariant, as it was found.

    Attributes:
        name: The file's name, without `.sql`.
        means: What must be true, from the head of the file.
        todo: What to do where it isn't, from the same place.
        seconds: How long the query took.
        columns: What its columns are called.
        rows: The rows that violate it, as text.
        failure: Why it could not be read; empty where it could.
    """

    name: str
    means: str
    todo: str
    seconds: float
    columns: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    failure: str = ""


@dataclass(frozen=True)
class Checked:
    """All invariants, of one moment.

    Attributes:
        at: The moment of the snapshot, by the server's clock.
        held_seconds: How long the snapshot was held.
        invariants: Each of them, by name.
    """

    at: datetime
    held_seconds: float
    invariants: tuple[Invariant, ...]

    @property
    def violated(self) -> tuple[Invariant, ...]:
        """Those that some rows violate."""
        return tuple(found for found in self.invariants if found.rows)

    @property
    def failed(self) -> tuple[Invariant, ...]:
        """Those that could not be read."""
        return tuple(found for found in self.invariants if found.failure)


def check(target: Target, queries: tuple[Script, ...]) -> Checked:
    """Read all invariants of a database, changing nothing.

    Raises:
        UsageProblem: The project has none, so that nothing would be checked.
        Problem: The database can't be reached.
    """
    if not queries:
        raise UsageProblem(
            "The project has no invariants, so there is nothing to check.",
            state="No database was touched.",
            todo="Write one: a query in sql/invariants/NAME.sql whose every row is a violation.",
        )
    with connect(target.url, purpose="check") as connection:
        return read_checked(connection, queries)


def read_checked(connection: Connection, queries: Iterable[Script]) -> Checked:
    """The same over an open connection, which is in no transaction."""
    with one_snapshot(connection) as at:
        return read_in_snapshot(connection, queries, at)


def read_in_snapshot(connection: Connection, queries: Iterable[Script], at: datetime) -> Checked:
    """The same in the snapshot of `one_snapshot`, beside what else is read in it."""
    started = time.perf_counter()
    found = tuple(_read(connection, query) for query in queries)
    return Checked(at, time.perf_counter() - started, found)


@contextmanager
def one_snapshot(connection: Connection) -> Iterator[datetime]:
    """A transaction that reads, and reads one moment only; gives the moment.

    What a query in it asks to be changed is refused by the server.
    """
    # Nothing to undo; ended by a rollback it would be counted among those that a watch looks at.
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read, read only")
        row = connection.execute("select clock_timestamp()").fetchone()
        if row is None:
            raise AssertionError("a select without a table gives one row")
        yield row[0]


def head_of(query: Script) -> tuple[str, str]:
    """What the comment at the head of a query says: what it means, and what to do."""
    header = read_header(query.text)
    return f"{header.title} {header.more}".strip(), header.directives.get("do", "")


def _read(connection: Connection, query: Script) -> Invariant:
    means, todo = head_of(query)
    found = read_query(connection, query)
    rows = tuple(tuple(str(value) for value in row) for row in found.rows)
    return Invariant(
        query.path.stem, means, todo, found.seconds, found.columns, rows, found.failure
    )
