"""How long the app's daily statements take: before a deploy, and in each sample of a watch.

They are queries of sql/daily, one a file, such as the app runs all day. Each runs by itself in a
transaction that can only read, so that no snapshot outlives its query.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pymilk.database.connection import Connection
from pymilk.deploy.health.readings import Reading, read_query
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
        name = query.path.stem
        with connection.transaction():
            connection.execute("set transaction read only")
            connection.execute("select set_config('statement_timeout', %s, true)", (_LONGEST,))
            runs = _runs(connection, query)
        if runs[-1].failure:
            failed[name] = runs[-1].failure
        else:
            seconds[name] = min(run.seconds for run in runs)
    return Timed(seconds, failed)


def _runs(connection: Connection, query: Script) -> list[Reading]:
    """Run it as often as it is timed; one that fails isn't waited for again."""
    runs: list[Reading] = []
    while len(runs) < _RUNS and not (runs and runs[-1].failure):
        runs.append(read_query(connection, query))
    return runs
