"""One deploy at a time: a session lock that ends with its session, so none can get stuck."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from pymilk.database.connection import Connection, Target, connect
from pymilk.database.sessions import since
from pymilk.problem import Problem, TryAgainLater

# Any constant does; it is "pymilk" in ASCII, so that a look into pg_locks can recognise it.
_KEY = int.from_bytes(b"pymilk")


SHARED_SESSIONS = "This is a transaction pooler; sessions are shared between connections"
NO_SHARED_SESSIONS = "Use the direct connection or the session pooler (port 5432)."

# How often to look whether a pooler hands our session on: others may be quicker than we once.
_LOOKS = 3


def shares_sessions(connection: Connection, url: str) -> bool:
    """Whether a pooler in transaction mode stands between: two connections, one server session.

    Such a one gives the server's session that a client has just left to the next that begins a
    transaction, and the first goes on in another.
    """
    mine = session_of(connection)
    if mine == connection.info.backend_pid:
        return False  # no pooler at all: they don't tell their clients the server's own number
    with connect(url, purpose="session check") as other:
        for _ in range(_LOOKS):
            with other.transaction():
                if session_of(other) == mine or session_of(connection) != mine:
                    return True
    return False


def lock_this_transaction(connection: Connection) -> None:
    """Hold the deploy lock to the end of the transaction, whatever a script does to the session."""
    connection.execute("select pg_advisory_xact_lock(%s)", (_KEY,))


@contextmanager
def only_deploy(target: Target, purpose: str, wait_seconds: float) -> Iterator[Connection]:
    """Hold the deploy lock; the change itself is made on this very connection.

    If the connection is lost, so is the lock, and with it the right to go on.

    Args:
        target: The database.
        purpose: Shown to whoever waits for us.
        wait_seconds: How long to wait for another deploy to end.

    Raises:
        Problem: Sessions are shared here: the lock would stay behind with somebody else's.
        TryAgainLater: Another deploy is still running after that.
    """
    with connect(target.url, purpose=purpose) as connection:
        if shares_sessions(connection, target.url):
            raise Problem(
                f"{SHARED_SESSIONS}: a lock would stay behind in somebody else's session, and"
                " nothing could be proven.",
                state="Nothing was changed, and nothing locked.",
                todo=NO_SHARED_SESSIONS,
            )
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
    pid, application, began = row
    return f"{application or 'a session'} (process {pid} on the server, {since(began)})"


def _holder_row(connection: Connection) -> tuple[int, str | None, datetime | None] | None:
    row = connection.execute(
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
    return (row[0], row[1], row[2]) if row else None
