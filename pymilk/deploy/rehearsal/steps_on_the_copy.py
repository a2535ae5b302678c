"""A file that can't be one transaction, on the copy: step by step, as a deploy runs it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from pymilk.database.catalog import Catalog, read_catalog
from pymilk.database.connection import Connection
from pymilk.database.ledger import read_entries, read_recorded_catalog
from pymilk.deploy.basis.evidence import ScriptRun, StatementTime
from pymilk.deploy.basis.half import half_of
from pymilk.deploy.change.row_proof import read_marks, tables_written
from pymilk.deploy.change.steps import run_plain, set_again, steps_of
from pymilk.deploy.rehearsal.observe import Observer, followed_by, in_turn, observe_outside
from pymilk.project.migrations import Migration, Script, runs_outside_transactions
from pymilk.project.statements import Statement


@dataclass(frozen=True)
class Begun:
    """How far the steps had come when the backup was taken.

    Attributes:
        done: How many are done.
        schema: The one before the first of them.
    """

    done: int
    schema: Catalog


def begun_on(connection: Connection, migration: Migration) -> Begun | None:
    """What the copy's ledger says of a migration in steps; none where none of them is done."""
    half = half_of(read_entries(connection), migration.version)
    if half is None or half.before is None:
        return None
    return Begun(half.done, read_recorded_catalog(connection, half.before))


def run_steps(
    connection: Connection, url: str, script: Script, begun: Begun | None
) -> tuple[ScriptRun, frozenset[str]]:
    """Run the steps that are left; what each locks is let go of at its end.

    Args:
        connection: To the copy, outside of any transaction.
        url: Of the copy, for a second session beside it.
        script: Whose steps.
        begun: How many are done already.

    Returns:
        How they ran, and the tables that they wrote to.

    Raises:
        ScriptFailed: One failed.
    """
    done = begun.done if begun else 0
    set_again(connection, script, done)
    went = list(_steps(connection, url, script, done))
    return in_turn([run for run, _ in went]), frozenset().union(*(wrote for _, wrote in went))


def _steps(
    connection: Connection, url: str, script: Script, done: int
) -> Iterator[tuple[ScriptRun, frozenset[str]]]:
    for statement in steps_of(script)[done:]:
        if runs_outside_transactions(statement):
            yield observe_outside(connection, url, script, statement), frozenset()
        else:
            yield _in_a_transaction(connection, script, statement)


def _in_a_transaction(
    connection: Connection, script: Script, statement: Statement
) -> tuple[ScriptRun, frozenset[str]]:
    with connection.transaction():
        observer, marks = Observer(connection, statement.text), read_marks(connection)
        started = time.perf_counter()
        run_plain(connection, script, statement)
        seconds = time.perf_counter() - started
        observer.look(StatementTime(statement.line, statement.beginning, seconds, statement.text))
        run, wrote = observer.run(), tables_written(connection, marks)
        started = time.perf_counter()
        read_catalog(connection)  # which a deploy writes into the ledger with each step
        return followed_by(run, time.perf_counter() - started), wrote
