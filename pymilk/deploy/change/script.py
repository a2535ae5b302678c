"""Run a project's script in the caller's transaction, statement by statement."""

import time
from collections.abc import Callable, Mapping

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from pymilk.database.connection import Connection
from pymilk.deploy.basis.evidence import StatementTime
from pymilk.problem import Problem
from pymilk.project.migrations import Script, refuse_what_cannot_be_one_transaction
from pymilk.project.statements import Statement


class ScriptFailed(Problem):
    """A statement of a script failed; its transaction is rolled back.

    Attributes:
        script: Which script, where it is known.
    """

    script: Script | None = None


# What says "not now" rather than "not so": the transaction may be tried again.
NOT_NOW = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)

CHECK_DEFERRED = Statement("set constraints all immediate", 0, 0, ())

# Given thrice what is allowed: takes a longer lock timeout back to it.
HOLD_LOCK_TIMEOUT = (
    "select set_config('lock_timeout', %s, true) from pg_catalog.pg_settings"
    " where name = 'lock_timeout' and %s <> '0'"
    " and (setting = '0' or setting::bigint > extract(epoch from %s::interval) * 1000)"
)

# First words of statements that may change a setting.
MAY_SET = frozenset({"set", "reset", "select", "do", "call", "discard"})


def _nobody_looks(_ran: StatementTime) -> None:
    """What is done after a statement when nobody wants to see."""


def run_script(
    connection: Connection, script: Script, look: Callable[[StatementTime], None] = _nobody_looks
) -> None:
    """Run every statement; settings that the script made for itself don't outlive it.

    Nor does it get to queue for locks longer than its caller chose: files that were made by
    pg_dump begin with `set lock_timeout = 0`.

    Args:
        connection: In the transaction that the script is to be a part of.
        script: What to run.
        look: Called after each statement; the time that it takes isn't the statement's.

    Raises:
        UsageProblem: It would end the transaction that it runs in.
        ScriptFailed: A statement failed, with its line and what Postgres said.
        psycopg.Error: One of `NOT_NOW`, or a lost connection.
    """
    refuse_what_cannot_be_one_transaction(script)
    settings = read_settings(connection)
    for statement in script.inside:
        started = time.perf_counter()
        _guard(connection, script, statement)
        seconds = time.perf_counter() - started
        look(StatementTime(statement.line, statement.beginning, seconds, statement.text))
        if statement.words[:1] and statement.words[0] in MAY_SET:
            _hold_lock_timeout(connection, settings)
    # Deferred constraints speak now, while everything can still be refused.
    _guard(connection, script, CHECK_DEFERRED)
    connection.execute("reset role")
    _restore(connection, settings)


def run_verification(connection: Connection, script: Script) -> float:
    """Run a verification and undo everything it did; seconds it took.

    Raises:
        ScriptFailed: It found something wrong.
    """
    started = time.perf_counter()
    with connection.transaction(force_rollback=True):
        run_script(connection, script)
    return time.perf_counter() - started


def read_settings(connection: Connection) -> Mapping[str, str]:
    """What this session has set, and not got from the server."""
    rows = connection.execute(
        "select name, current_setting(name) from pg_catalog.pg_settings"
        " where source = 'session' and name not in ('role', 'transaction_isolation')"
    ).fetchall()
    return dict(rows)


def _restore(connection: Connection, settings: Mapping[str, str]) -> None:
    now = read_settings(connection)
    for name in now.keys() - settings.keys():
        connection.execute(sql.SQL("reset {}").format(sql.Identifier(name)))
    for name, value in settings.items():
        if now.get(name) != value:
            connection.execute("select set_config(%s, %s, false)", (name, value))


def _hold_lock_timeout(connection: Connection, settings: Mapping[str, str]) -> None:
    """A shorter one is the script's own business."""
    allowed = settings.get("lock_timeout", "0")
    connection.execute(HOLD_LOCK_TIMEOUT, (allowed, allowed, allowed))


def _guard(
    connection: Connection, script: Script, statement: Statement
) -> psycopg.Cursor[TupleRow]:
    try:
        return connection.execute(statement.text.encode())
    except NOT_NOW:
        raise
    except psycopg.Error as error:
        if connection.closed:
            raise  # who holds the connection can say what it means
        raise failure(script, statement, error) from error


def failure(script: Script, statement: Statement, error: psycopg.Error) -> ScriptFailed:
    """What Postgres said of a statement, with the line of its file."""
    at = f", line {_line(error, statement)}" if statement.line else ""
    detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
    problem = ScriptFailed(
        f"{script.short_path}{at}: {error.diag.message_primary or error}{detail}",
        state="Nothing was changed: the script's transaction is rolled back.",
        todo=error.diag.message_hint or "Mend the script; the rehearsal shows it again.",
    )
    problem.script = script
    return problem


def _line(error: psycopg.Error, statement: Statement) -> int:
    """The line of the file that Postgres pointed at, or the statement's first."""
    position = error.diag.statement_position
    if position is None:
        return statement.line
    return statement.starts + statement.text.count("\n", 0, int(position) - 1)
