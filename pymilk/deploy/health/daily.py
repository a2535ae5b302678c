"""How long the app's daily statements take: before a deploy, and in each sample of a watch.

They are queries of sql/daily, one a file, such as the app runs all day. Each runs by itself in a
transaction that can only read, so that no snapshot outlives its query.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psycopg

from pymilk.database.connection import Connection
from pymilk.deploy.change.script import failure
from pymilk.project.migrations import Script

# The first run may have to read from disk what the second one finds in memory.
_RUNS = 2

# A query that the app runs all day doesn't take that long; one that does is told as such.
_LONGEST = "10s"


@dataclass(frozen=True)
class Timed:
    """How long each took, or why it could not be run.

    Attributes:
        seconds: Query → seconds, the faster of two runs.
        failed: Query → why it could not be run.
    """

    seconds: Mapping[str, float]
    failed: Mapping[str, str]


def time_daily(connection: Connection, queries: Iterable[Script]) -> Timed:
    """Run each of them, and throw away what it gives.

    Args:
        connection: To the target, in no transaction.
        queries: The daily statements.
    """
    seconds: dict[str, float] = {}
    failed: dict[str, str] = {}
    for query in queries:
        name, statement = query.path.stem, query.statements[0]
        with connection.transaction():
            connection.execute("set transaction read only")
            connection.execute("select set_config('statement_timeout', %s, true)", (_LONGEST,))
            try:
                # A savepoint: a transaction that failed would be counted among those looked at.
                with connection.transaction():
                    seconds[name] = min(_run(connection, query) for _ in range(_RUNS))
            except psycopg.Error as error:
                if connection.closed:
                    raise
                failed[name] = failure(query, statement, error).happened
    return Timed(seconds, failed)


def _run(connection: Connection, query: Script) -> float:
    started = time.perf_counter()
    for statement in query.statements:
        if not statement.only_comment:
            connection.execute(statement.text.encode())
    return time.perf_counter() - started
