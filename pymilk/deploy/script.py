"""Run a project's script in the caller's transaction, statement by statement."""

import time
from collections.abc import Callable
from functools import partial

import psycopg

from pymilk.database.connection import Connection
from pymilk.deploy.evidence import StatementTime
from pymilk.problem import Problem
from pymilk.project.migrations import Script


class ScriptFailed(Problem):
    """A statement of a script failed; its transaction is rolled back."""


# What says "not now" rather than "not so": the transaction may be tried again.
NOT_NOW = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)


def run_script(connection: Connection, script: Script) -> tuple[StatementTime, ...]:
    """Run every statement; settings that the script made for itself don't outlive it.

    Raises:
        ScriptFailed: A statement failed, with its line and what Postgres said.
        psycopg.Error: One of `NOT_NOW`, or a lost connection.
    """
    times = []
    search_path = _search_path(connection)
    for statement in script.statements:
        started = time.perf_counter()
        _guard(script, statement.line, partial(connection.execute, statement.text.encode()))
        words = " ".join(statement.words[:4])
        times.append(StatementTime(statement.line, words, time.perf_counter() - started))
    # Deferred constraints speak now, while everything can still be refused.
    _guard(script, 0, partial(connection.execute, "set constraints all immediate"))
    connection.execute("reset role")
    connection.execute("select set_config('search_path', %s, true)", (search_path,))
    return tuple(times)


def run_verification(connection: Connection, script: Script) -> float:
    """Run a verification and undo everything it did; seconds it took.

    Raises:
        ScriptFailed: It found something wrong.
    """
    started = time.perf_counter()
    with connection.transaction(force_rollback=True):
        run_script(connection, script)
    return time.perf_counter() - started


def _search_path(connection: Connection) -> str:
    row = connection.execute("select current_setting('search_path')").fetchone()
    return str(row[0]) if row else ""


def _guard(script: Script, line: int, run: Callable[[], object]) -> None:
    try:
        run()
    except NOT_NOW:
        raise
    except psycopg.OperationalError:
        raise  # the connection; who holds it can say what it means
    except psycopg.Error as error:
        at = f", line {_line(error, script, line)}" if line else ""
        detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
        raise ScriptFailed(
            f"{script.path.parent.name}/{script.path.name}{at}:"
            f" {error.diag.message_primary or error}{detail}",
            todo=error.diag.message_hint or "Mend the script; the rehearsal shows it again.",
        ) from error


def _line(error: psycopg.Error, script: Script, start: int) -> int:
    """The line of the file that Postgres pointed at, or the statement's first."""
    position = error.diag.statement_position
    if position is None:
        return start
    statement = next(found for found in script.statements if found.line == start)
    offset = statement.text.count("\n", 0, int(position) - 1)
    lines_of_comment = _leading_lines(statement.text)
    return start + offset - lines_of_comment


def _leading_lines(text: str) -> int:
    """How many lines of comments and blanks stand before a statement's first word."""
    depth = 0
    for number, line in enumerate(text.splitlines()):
        stripped = line.strip()
        depth += stripped.count("/*") - stripped.count("*/")
        if stripped and not stripped.startswith(("--", "/*")) and depth == 0:
            return number
    return 0
