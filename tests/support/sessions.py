"""Making races deterministic: wait until a session is seen waiting, never for a while."""

import time

import psycopg
from psycopg.rows import TupleRow


def wait_until_blocked(
    watcher: psycopg.Connection[TupleRow], pid: int, timeout: float = 10
) -> None:
    """Wait until a session waits for a lock that another session holds.

    Args:
        watcher: A third session to look from.
        pid: The waiting session's process id (`connection.info.backend_pid`).
        timeout: Seconds after which the test fails.

    Raises:
        AssertionError: it was not seen waiting.
    """
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        # Reads the lock manager itself: unlike pg_stat_activity it isn't frozen in a transaction.
        row = watcher.execute("select cardinality(pg_blocking_pids(%s)) > 0", (pid,)).fetchone()
        if row is not None and row[0]:
            return
        time.sleep(0.005)
    raise AssertionError(f"session {pid} was not seen waiting for a lock within {timeout} s")


def wait_until_waiting_at(
    watcher: psycopg.Connection[TupleRow], gate: int, timeout: float = 60
) -> int:
    """Wait until a session of the watcher's database waits for an advisory lock.

    Args:
        watcher: A session to look from; it may hold the lock itself.
        gate: The lock's number.
        timeout: Seconds after which the test fails.

    Returns:
        The waiting session's process id.

    Raises:
        AssertionError: none was seen waiting.
    """
    query = (
        "select pid from pg_locks where locktype = 'advisory' and not granted and objid = %s"
        " and database = (select oid from pg_database where datname = current_database())"
    )
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        row = watcher.execute(query, (gate,)).fetchone()
        if row is not None:
            return int(row[0])
        time.sleep(0.005)
    raise AssertionError(f"nobody was seen waiting at {gate} within {timeout} s")


def wait_until_gone(watcher: psycopg.Connection[TupleRow], pid: int, timeout: float = 30) -> None:
    """Wait until a session has ended.

    Raises:
        AssertionError: it has not.
    """
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        row = watcher.execute("select from pg_stat_activity where pid = %s", (pid,)).fetchone()
        if row is None:
            return
        time.sleep(0.01)
    raise AssertionError(f"session {pid} is still there after {timeout} s")
