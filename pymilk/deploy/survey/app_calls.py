"""See whether the app still calls functions that a rollback takes away.

Down goes the app first, then the database: a function that is gone answers the app with a 404. What
can be seen of that from within the database is told, and what can't be seen is told as well.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from pymilk.database.connection import Connection

# A session that called it longer ago says nothing of the app as it is now.
_RECENT_SECONDS = 15 * 60
_HIDDEN = "<insufficient privilege>"


@dataclass(frozen=True)
class Call:
    """A session whose last statement calls a function.

    Attributes:
        function: Which function.
        pid: The session's process on the server.
        application: What it calls itself: PostgREST, mostly.
        user: Who it is.
        at: When the statement began.
        seconds_ago: How long ago that was.
    """

    function: str
    pid: int
    application: str
    user: str
    at: datetime
    seconds_ago: float

    def __str__(self) -> str:
        who = f"{self.application or 'no name'}, {self.user}, process {self.pid}"
        return f"{self.function} was called {self.seconds_ago:.0f} s ago ({who})"


@dataclass(frozen=True)
class Calls:
    """What could be seen, newest first, and what could not, in words."""

    seen: tuple[Call, ...]
    unseen: tuple[str, ...]


def recent_calls(connection: Connection, functions: Iterable[str]) -> Calls:
    """The calls of some functions, by `schema.name`, that the database can still tell of."""
    functions = tuple(functions)
    if not functions:
        return Calls((), ())
    rows = connection.execute(
        """
        select
            a.pid, a.application_name, coalesce(a.usename, ''), a.query_start,
            extract(epoch from clock_timestamp() - a.query_start)::float8, a.query
        from pg_catalog.pg_stat_activity as a
        where
            a.datname = current_database() and a.backend_type = 'client backend'
            and a.application_name !~ '^pymilk ' and a.pid <> pg_backend_pid()
            and a.query_start > clock_timestamp() - make_interval(secs => %s)
        order by a.query_start desc
        """,
        (_RECENT_SECONDS,),
    ).fetchall()
    seen = tuple(
        Call(function, pid, application, user, at, ago)
        for pid, application, user, at, ago, query in rows
        for function in functions
        if _calls(query, function)
    )
    hidden = sum(row[5] == _HIDDEN for row in rows)
    unseen = ["each session shows its last statement only, and one that has ended shows none"]
    if hidden:
        unseen.append(f"{hidden} session(s) of other roles don't show theirs to us")
    return Calls(seen, tuple(unseen))


def _calls(query: str, function: str) -> bool:
    """Whether the name stands in a statement as a call does, quoted or not."""
    name = re.escape(function.rpartition(".")[2].strip('"'))
    return re.search(rf'(?<![\w"]){name}\s*\(|"{name}"\s*\(', query) is not None
