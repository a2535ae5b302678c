"""What people call the things whose figures moved: asked when a report is written.

The ledger keeps keys alone. A name is somebody's, and is told as it is now; who has no row any more
is told by the key.
"""

from collections.abc import Iterable, Mapping

from pymilk.database.connection import Connection
from pymilk.deploy.health.invariants import one_snapshot
from pymilk.deploy.health.readings import read_query
from pymilk.project.migrations import Script
from pymilk.project.query_header import read_header

Names = Mapping[str, Mapping[str, str]]
"""Query of the project's figures → key → what people call it."""


def read_names(connection: Connection, queries: Iterable[Script]) -> Names:
    """The names of every key, of those queries that give one.

    A query that can't be read gives none: the key is there to be told.
    """
    found = {}
    with one_snapshot(connection):
        for query in queries:
            name = read_header(query.text).name
            reading = read_query(connection, query) if name else None
            if reading is not None and name in reading.columns:
                place = reading.columns.index(name)
                found[query.path.stem] = {
                    str(row[0]): str(row[place]) for row in reading.rows if row[place] is not None
                }
    return found
