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


def wait_until_named_is_gone(
    watcher: psycopg.Connection[TupleRow], application: str, timeout: float = 10
) -> None:
    """Wait until no session calls itself that, on the watcher's database.

    Raises:
        AssertionError: one still does.
    """
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        row = watcher.execute(
            "select from pg_stat_activity"
            " where datname = current_database() and application_name = %s",
            (application,),
        ).fetchone()
        if row is None:
            return
        time.sleep(0.01)
    raise AssertionError(f"a session is still there after {timeout} s: {application}")
