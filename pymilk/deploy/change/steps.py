"""Files that can't be one transaction: each statement a step, the ledger knows how far they came.

A step that can be in a transaction is in one, together with its row in the ledger. One that can't
is recorded as begun, run, and recorded as done. Where a run was cut off in between, the schema
tells whether it had come through: it is as it was when the step began, or it isn't.
"""

from collections.abc import Iterable

import psycopg

from pymilk.database.catalog import Catalog, project_schemas, read_catalog
from pymilk.database.connection import Connection
from pymilk.database.ledger import Event, Kind, Outcome, record
from pymilk.deploy.basis.half import Half
from pymilk.deploy.basis.plan import Plan
from pymilk.deploy.change.script import failure
from pymilk.problem import Problem
from pymilk.project.migrations import Script, runs_outside_transactions
from pymilk.project.statements import Statement

_SETTING = frozenset({"set", "reset"})


def steps_of(script: Script) -> tuple[Statement, ...]:
    """The statements that are steps, in order."""
    return tuple(statement for statement in script.statements if not statement.only_comment)


def run_plain(connection: Connection, script: Script, statement: Statement) -> None:
    """Run one step by itself, with nothing around it.

    Raises:
        ScriptFailed: It failed.
    """
    try:
        connection.execute(statement.text.encode())
    except psycopg.Error as error:
        if connection.closed:
            raise
        raise failure(script, statement, error) from error


def set_again(connection: Connection, script: Script, done: int) -> None:
    """What the steps before have set in their session holds for those after them."""
    for statement in steps_of(script)[:done]:
        if statement.words[:1] and statement.words[0] in _SETTING:
            run_plain(connection, script, statement)


def run_step(connection: Connection, plan: Plan, number: int) -> None:
    """Run one step, counted from 1, and record it.

    Raises:
        psycopg.Error: It failed; what an index left behind is gone again.
    """
    statement = steps_of(plan.migration.up)[number - 1]
    before = read_catalog(connection)
    if runs_outside_transactions(statement) is None:
        with connection.transaction():
            connection.execute(f"set local lock_timeout = {plan.policy.lock_timeout_ms}")
            connection.execute(statement.text.encode())
            _record(connection, plan, number, Outcome.DONE, (before, ()))
        return
    invalid = sorted(_invalid_indexes(connection))
    _record(connection, plan, number, Outcome.BEGUN, (before, invalid))
    patience = plan.policy.lock_patience_seconds * 1000
    # What is made concurrently queues without keeping anybody out; anything else does not.
    wait = patience if "concurrently" in statement.words else plan.policy.lock_timeout_ms
    connection.execute("select set_config('lock_timeout', %s, false)", (f"{wait:.0f}",))
    try:
        connection.execute(statement.text.encode())
    except psycopg.Error:
        if not connection.closed:
            _clean(connection, invalid)
            _record(connection, plan, number, Outcome.FAILED)
        raise
    _record(connection, plan, number, Outcome.DONE)


def settle(connection: Connection, plan: Plan, half: Half) -> None:
    """Find out what became of a step that was begun and never ended, and record that.

    An invalid index is what is left of one that was to be made concurrently: it is dropped.

    Raises:
        Problem: The file isn't the one any more whose steps they are.
    """
    migration = plan.migration
    if half.checksum != migration.up.checksum:
        raise Problem(
            f"{migration.label} is {half}, and its file was edited since.",
            state=f"{migration.version} is {half}.",
            todo="Take the edit back (git checkout); change the rest with a further migration.",
        )
    if half.begun is None:
        return
    _clean(connection, half.begun.evidence["invalid"])
    came_through = read_catalog(connection).fingerprint != half.begun.before
    outcome = Outcome.DONE if came_through else Outcome.FAILED
    _record(connection, plan, half.done + 1, outcome)


def _record(
    connection: Connection,
    plan: Plan,
    number: int,
    outcome: Outcome,
    begun: tuple[Catalog, Iterable[str]] | None = None,
) -> None:
    """Record a step; `begun` is the schema before it and the indexes that were invalid then."""
    before, invalid = begun or (None, ())
    migration = plan.migration
    record(
        connection,
        Event(
            Kind.STEP,
            {"of": len(steps_of(migration.up)), "invalid": list(invalid)},
            version=migration.version,
            name=migration.name,
            revision=plan.revision.commit,
            checksum=migration.up.checksum,
            before=before,
            after=read_catalog(connection) if outcome is Outcome.DONE else None,
            outcome=outcome,
            run=plan.run,
            step=number,
        ),
    )


def _clean(connection: Connection, known: Iterable[str]) -> None:
    """Drop the invalid indexes that were not there before."""
    connection.execute("select set_config('lock_timeout', '0', false)")
    for name in sorted(_invalid_indexes(connection) - set(known)):
        # The server has quoted it.
        connection.execute(f"drop index concurrently if exists {name}".encode())


def _invalid_indexes(connection: Connection) -> frozenset[str]:
    rows = connection.execute(
        "select quote_ident(n.nspname) || '.' || quote_ident(c.relname)"
        " from pg_catalog.pg_index as i"
        " inner join pg_catalog.pg_class as c on i.indexrelid = c.oid"
        " inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid"
        " where not i.indisvalid and c.relkind = 'i' and n.nspname = any(%s)",
        (list(project_schemas(connection)),),
    ).fetchall()
    return frozenset(row[0] for row in rows)
