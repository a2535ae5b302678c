"""Rehearse a file that can't be one transaction: the steps that are left, the proof, and back."""

import time

from pymilk.database.catalog import Catalog, describe_difference, project_schemas, read_catalog
from pymilk.database.connection import Connection
from pymilk.database.contents import differing_tables, read_all_contents, read_tables
from pymilk.database.ledger import read_entries, read_recorded_catalog
from pymilk.deploy.basis.evidence import Rehearsed, ScriptRun, StatementRun, Used
from pymilk.deploy.basis.half import half_of
from pymilk.deploy.basis.plan import Bench, Plan
from pymilk.deploy.change.figures import (
    differing_figures,
    new_violations,
    read_state,
    read_violations,
)
from pymilk.deploy.change.script import run_verification
from pymilk.deploy.change.steps import run_plain, set_again, steps_of
from pymilk.deploy.rehearsal.on_the_copy import UNCHANGED, RehearsalFailed, down_alone

_UNUSED = "it isn't one transaction: the steps, their result and the way back are proven"


def rehearse_steps(connection: Connection, plan: Plan, bench: Bench) -> Rehearsed:
    """Run what is left of it, verify, roll all of it back, and run all of it again.

    Raises:
        RehearsalFailed: Something did not hold.
        ScriptFailed: A step failed.
    """
    migration, project = plan.migration, plan.project
    before = read_catalog(connection)
    half = half_of(read_entries(connection), migration.version)
    from_scratch = before
    if half is not None and half.before is not None:
        from_scratch = read_recorded_catalog(connection, half.before)
    tables = read_tables(connection, project_schemas(connection))
    contents = read_all_contents(connection, tables)
    violations = read_violations(connection, project.invariants)
    state = read_state(connection, project.state)
    up = _run_from(connection, plan, half.done if half else 0)
    after = read_catalog(connection)
    verify_seconds = 0.0
    if migration.verify is not None:
        verify_seconds = run_verification(connection, migration.verify)
    _refuse(
        new_violations(violations, read_violations(connection, project.invariants)),
        "breaks invariants that held before",
    )
    _refuse(differing_figures(state, read_state(connection, project.state)), "changes figures")
    down = None
    if migration.down is not None:
        down = down_alone(connection, migration.down, from_scratch)
        now = read_all_contents(connection, tables) if half is None else contents
        _refuse(differing_tables(contents, now), "isn't undone by its rollback")
        _run_from(connection, plan, 0)
        _refuse_other(after, read_catalog(connection))
    return Rehearsed(
        label=migration.label,
        before=before,
        after=after,
        up=up,
        verify_seconds=verify_seconds,
        down=down,
        changed_tables=(),
        used=Used(unused=_UNUSED),
        where=bench.kind,
        major=bench.major,
        canary_tables=frozenset(),
        weighed_tables=frozenset(),
    )


def _run_from(connection: Connection, plan: Plan, done: int) -> ScriptRun:
    script, runs = plan.migration.up, []
    set_again(connection, script, done)
    for statement in steps_of(script)[done:]:
        started = time.perf_counter()
        run_plain(connection, script, statement)
        seconds = time.perf_counter() - started
        words = " ".join(statement.words[:8])
        runs.append(StatementRun(statement.line, words, seconds, {}, ()))
    return ScriptRun(sum(one.seconds for one in runs), tuple(runs), {}, 0.0)


def _refuse(found: tuple[str, ...], what: str) -> None:
    if found:
        raise RehearsalFailed(
            f"The migration {what}: {'; '.join(found[:5])}",
            state=UNCHANGED,
            todo="Mend the migration.",
        )


def _refuse_other(first: Catalog, second: Catalog) -> None:
    if first.difference(second):
        raise RehearsalFailed(
            "Deployed a second time, the schema isn't the same as the first time:"
            f" {describe_difference(first, second)}",
            state=UNCHANGED,
            todo="Make the migration's result independent of what was there before.",
        )
