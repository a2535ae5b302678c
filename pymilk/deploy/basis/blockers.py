"""See who is in the way at the very moment of waiting, from a session of its own.

Afterwards it can only be guessed: whoever was in the way may be gone, and whoever is there may
never have been.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

import psycopg

from pymilk.database.connection import Connection, Target, connect
from pymilk.database.sessions import since

_LOOK_EVERY_SECONDS = 0.03

_BLOCKERS = """
select
    a.pid, a.backend_type, a.application_name, a.usename, a.state,
    coalesce(a.xact_start, a.backend_start) as since, a.query
from pg_catalog.pg_stat_activity as a
where a.pid = any(pg_catalog.pg_blocking_pids(%s))
order by since
"""


@dataclass(frozen=True)
class Blocker:
    """A session that holds, or waits before us for, a lock that we wait for.

    Attributes:
        pid: Its process on the server.
        kind: `client backend`, or which of Postgres's own it is; this and what follows is none
            where Postgres doesn't show it to our role.
        application: What it calls itself.
        user: Who it is.
        state: What it is doing: `active`, `idle in transaction`.
        since: When its transaction began.
        query: Its last statement.
    """

    pid: int
    kind: str | None
    application: str | None
    user: str | None
    state: str | None
    since: datetime | None
    query: str | None

    def __str__(self) -> str:
        if self.kind is None:
            return f"process {self.pid} (of {self.user or 'a role'}; ours isn't shown more)"
        if self.kind != "client backend":
            return f"process {self.pid} ({self.kind}, {since(self.since)})"
        return (
            f"process {self.pid} ({self.application or 'no name'}, {self.user}, {self.state},"
            f" {since(self.since)}): {' '.join((self.query or '').split())[:80]}"
        )


@dataclass
class Sight:
    """Who was seen in the way of one session; the newest look that saw somebody counts."""

    blockers: tuple[Blocker, ...] = ()
    stop: threading.Event = field(default_factory=threading.Event)

    def __str__(self) -> str:
        return "; ".join(map(str, self.blockers[:3])) or "nobody who could be seen"


@contextmanager
def watching(target: Target, session: int) -> Iterator[Sight]:
    """Look, again and again, who blocks a session, until the block ends.

    Args:
        target: The database, for a connection of its own.
        session: The server process of the session that may have to wait.

    Raises:
        Problem: The database can't be reached.
    """
    sight = Sight()
    with connect(target.url, purpose="watch") as connection:
        watcher = threading.Thread(target=_look, args=(connection, session, sight), daemon=True)
        watcher.start()
        try:
            yield sight
        finally:
            sight.stop.set()
            watcher.join(timeout=5)


def _look(connection: Connection, session: int, sight: Sight) -> None:
    try:
        while not sight.stop.wait(_LOOK_EVERY_SECONDS):
            rows = connection.execute(_BLOCKERS, (session,)).fetchall()
            if rows:
                sight.blockers = tuple(Blocker(*row) for row in rows)
    except psycopg.Error:
        return  # the database is gone; who waits will notice
