"""One deploy at a time: a session lock that ends with its session, so none can get stuck."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from pymilk.database.connection import Connection, Target, connect
from pymilk.problem import TryAgainLater

# Any constant does; it is "pymilk" in ASCII, so that a look into pg_locks can recognise it.
_KEY = int.from_bytes(b"pymilk")


@contextmanager
def only_deploy(target: Target, purpose: str, wait_seconds: float) -> Iterator[Connection]:
    """Hold the deploy lock; the change itself is made on this very connection.

    If the connection is lost, so is the lock, and with it the right to go on.

    Args:
        target: The database.
        purpose: Shown to whoever waits for us.
        wait_seconds: How long to wait for another deploy to end.

    Raises:
        TryAgainLater: Another deploy is still running after that.
    """
    with connect(target.url, purpose=purpose) as connection:
        give_up = time.monotonic() + wait_seconds
        while not _try(connection):
            if time.monotonic() >= give_up:
                raise TryAgainLater(
                    f"Another deploy is running: {_holder(connection)}.",
                    state="Nothing was changed by this one.",
                    todo="Run it again when that one has ended; 'pymilk status' shows the outcome.",
                )
            time.sleep(0.25)
        yield connection


def other_deploy(connection: Connection) -> str | None:
    """Who holds the deploy lock, other than this connection."""
    return _holder(connection) if _held_elsewhere(connection) else None


def session_of(connection: Connection) -> int:
    """The server's process for this session; a pooler's client may be told another number."""
    row = connection.execute("select pg_backend_pid()").fetchone()
    return int(row[0]) if row else 0


def holds_deploy_lock(connection: Connection, session: int) -> bool:
    """Whether that session is there and holds the deploy lock."""
    row = _holder_row(connection)
    return row is not None and row[0] == session


def _try(connection: Connection) -> bool:
    row = connection.execute("select pg_try_advisory_lock(%s)", (_KEY,)).fetchone()
    return bool(row and row[0])


def _held_elsewhere(connection: Connection) -> bool:
    return _holder_row(connection) is not None


def _holder(connection: Connection) -> str:
    row = _holder_row(connection)
    if row is None:
        return "it has just ended"
    pid, application, since = row
    return f"{application} (process {pid} on the server, since {since:%H:%M:%S} UTC)"


def _holder_row(connection: Connection) -> tuple[object, ...] | None:
    return connection.execute(
        """
        select a.pid, a.application_name, a.backend_start
        from pg_catalog.pg_locks as l
        inner join pg_catalog.pg_stat_activity as a on l.pid = a.pid
        where
            l.locktype = 'advisory' and l.granted and l.pid <> pg_backend_pid()
            and l.database = (
                select d.oid from pg_database as d where d.datname = current_database()
            )
            and (l.classid::bigint << 32) + l.objid::bigint = %s
        """,
        (_KEY,),
    ).fetchone()
