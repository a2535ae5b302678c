"""Files that can't be one transaction: each statement a step, the ledger knows how far they came.

A step that can be in a transaction is in one, together with its row in the ledger. One that can't
is recorded as begun, run, and recorded as done. Where a run was cut off in between, `cut_off.py`
finds out whether it had come through.
"""

import hashlib
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass

import psycopg

from pymilk.database.catalog import Catalog, read_catalog
from pymilk.database.connection import Connection
from pymilk.database.ledger import Event, Kind, Outcome, record
from pymilk.deploy.basis.plan import Plan
from pymilk.deploy.change.left_behind import drop_left_behind, invalid_indexes, queueing_for
from pymilk.deploy.change.script import NOT_NOW, ScriptFailed, failure
from pymilk.deploy.change.strong_locks import Taking, take_all
from pymilk.project.migrations import Script
from pymilk.project.statements import Statement

_SETTING = frozenset({"set", "reset"})


@dataclass(frozen=True)
class StepCame:
    """How far a step came.

    Attributes:
        number: Which, counted from 1.
        outcome: How far.
        before: The schema before it; told when it begins.
        invalid: The indexes that were invalid then.
        after: The schema after it; told when it is done.
    """

    number: int
    outcome: Outcome
    before: Catalog | None = None
    invalid: tuple[str, ...] = ()
    after: Catalog | None = None


def steps_of(script: Script) -> tuple[Statement, ...]:
    """The statements that are steps, in order."""
    return tuple(statement for statement in script.statements if not statement.only_comment)


def fingerprint(statement: Statement) -> str:
    """By which the ledger knows a step's text again: SHA-256."""
    return hashlib.sha256(statement.text.encode()).hexdigest()


def run_plain(connection: Connection, script: Script, statement: Statement) -> None:
    """Run one step by itself, with nothing around it.

    Raises:
        ScriptFailed: It failed.
        psycopg.Error: One of `NOT_NOW`, or a lost connection.
    """
    try:
        connection.execute(statement.text.encode())
    except NOT_NOW:
        raise
    except psycopg.Error as error:
        if connection.closed:
            raise
        raise failure(script, statement, error) from error


def set_again(connection: Connection, script: Script, done: int) -> None:
    """What the steps before have set in their session holds for those after them."""
    for statement in steps_of(script)[:done]:
        if statement.words[:1] and statement.words[0] in _SETTING:
            run_plain(connection, script, statement)


def run_in_a_transaction(
    connection: Connection, plan: Plan, number: int, locks: Taking | None, token: uuid.UUID
) -> float:
    """Run one step, counted from 1, in the caller's transaction, and record it there.

    Args:
        connection: In that transaction.
        plan: Of which migration.
        number: Which step.
        locks: The strong locks that it needs.
        token: Under which the ledger knows of it.

    Returns:
        Since when they have been held, on the monotonic clock.

    Raises:
        ScriptFailed: It failed.
        psycopg.Error: One of `NOT_NOW`, or a lost connection.
    """
    script = plan.migration.up
    before = read_catalog(connection)
    if locks is not None:
        take_all(connection, locks.statement, locks.milliseconds)
    held_since = time.monotonic()
    run_plain(connection, script, steps_of(script)[number - 1])
    after = read_catalog(connection)
    record_step(connection, plan, StepCame(number, Outcome.DONE, before, after=after), token)
    return held_since


def run_outside(connection: Connection, plan: Plan, number: int, wait_seconds: float) -> None:
    """Run one step that no transaction can hold, and record its beginning and its end.

    Args:
        connection: Outside of any transaction.
        plan: Of which migration.
        number: Which step, counted from 1.
        wait_seconds: How long it may queue for a lock.

    Raises:
        ScriptFailed: It failed; what an index left behind is gone again.
        psycopg.Error: One of `NOT_NOW`, or a lost connection.
    """
    script = plan.migration.up
    statement = steps_of(script)[number - 1]
    known = invalid_indexes(connection)
    before = read_catalog(connection)
    record_step(connection, plan, StepCame(number, Outcome.BEGUN, before, tuple(sorted(known))))
    try:
        with queueing_for(connection, wait_seconds):
            run_plain(connection, script, statement)
    except (ScriptFailed, *NOT_NOW):
        # Where it can't be cleaned up, the step stays begun: the next run cleans up first.
        with suppress(psycopg.Error):
            drop_left_behind(connection, statement, known, wait_seconds)
            record_step(connection, plan, StepCame(number, Outcome.FAILED))
        raise
    after = read_catalog(connection)
    record_step(connection, plan, StepCame(number, Outcome.DONE, after=after))


def record_step(
    connection: Connection, plan: Plan, came: StepCame, token: uuid.UUID | None = None
) -> None:
    """Write into the ledger how far a step came."""
    migration = plan.migration
    record(
        connection,
        Event(
            Kind.STEP,
            {
                "of": len(steps_of(migration.up)),
                "invalid": list(came.invalid),
                "statement": fingerprint(steps_of(migration.up)[came.number - 1]),
            },
            version=migration.version,
            name=migration.name,
            revision=plan.revision.commit,
            checksum=migration.up.checksum,
            before=came.before,
            after=came.after,
            outcome=came.outcome,
            run=plan.run,
            step=came.number,
        ),
        token,
    )
