"""Step 6: the first look at the live database afterwards, when nobody waits for us any more."""

import time
from collections.abc import Mapping
from dataclasses import replace

import psycopg

from pymilk.database.catalog import project_schemas
from pymilk.database.connection import Connection, connect, first_line
from pymilk.database.contents import read_tables
from pymilk.database.ledger import Event, Kind, record
from pymilk.deploy.basis.evidence import (
    Applied,
    Evidence,
    State,
    Unread,
    Violations,
    Watched,
)
from pymilk.deploy.basis.plan import Bench, Plan
from pymilk.deploy.change.figures import (
    count_rows,
    moved_figures,
    new_violations,
    read_state,
    read_violations,
)
from pymilk.deploy.change.script import ScriptFailed
from pymilk.deploy.change.verify import verify_over
from pymilk.problem import Problem
from pymilk.project.migrations import Migration

# A violation that a customer's series of calls makes in passing is gone at the next look.
_LOOKS = 5
_BETWEEN_LOOKS_SECONDS = 0.5


class VerificationFails(Problem):
    """What was committed is not in effect, or not any more."""


def run(plan: Plan, _bench: Bench, evidence: Evidence) -> Evidence:
    """Run the canary once more, now on the committed change, and compare figures and invariants.

    Raises:
        Problem: Something failed or is broken, and could be rolled back; or it could not be looked
            at. Deployed it is.
    """
    migration = plan.migration
    label, version = migration.label, migration.version
    try:
        before = evidence.applied.violations_before if evidence.applied else None
        unread = evidence.rehearsal.unread if evidence.rehearsal else Unread()
        # A session of its own: whatever the migration left in the one that made it, others lack.
        with connect(plan.target.url, purpose="after") as connection:
            seconds = _verified(connection, migration)
            state, rows, broken = _look(connection, plan, before, unread)
            watched = Watched(seconds, state, rows)
            record(connection, _event(plan, evidence.applied, watched, broken))
    except VerificationFails:
        raise
    except (Problem, psycopg.OperationalError) as problem:
        raise Problem(
            f"{label} is deployed, but could not be looked at afterwards: {first_line(problem)}",
            state=f"{version} is applied and committed.",
            todo=f"Look now: pymilk verify {migration.argument}",
        ) from problem
    if broken:
        raise Problem(
            f"{label} is deployed, and {len(broken)} invariant(s) are broken that held just before:"
            f" {'; '.join(broken[:5])}",
            state=f"{version} is applied and committed. {_whose(evidence.applied)}",
            todo="Look at the rows named, and at who wrote them. To take it back: pymilk rollback"
            f" {migration.argument}",
        )
    return replace(evidence, after=watched)


def _verified(connection: Connection, migration: Migration) -> float | None:
    if migration.verify is None:
        return None
    try:
        return verify_over(connection, migration)
    except ScriptFailed as problem:
        raise VerificationFails(
            f"{migration.label} is deployed, but its verification fails now: {problem.happened}",
            state=f"{migration.version} is applied and committed.",
            todo=f"Roll it back: pymilk rollback {migration.argument}",
        ) from problem


def _event(plan: Plan, applied: Applied | None, watched: Watched, broken: tuple[str, ...]) -> Event:
    """What was seen, for whoever asks later."""
    facts: dict[str, object] = {
        "canary_seconds": watched.canary_seconds,
        "rows_after": watched.rows_after,
        "broken": broken,
    }
    if applied is not None:
        facts |= {
            "seconds": applied.seconds,
            "locked_seconds": applied.locked_seconds,
            "attempts": applied.attempts,
            "queue_ms": plan.policy.lock_timeout_ms,
            # Of figures, only those that are others: there may be one for each customer.
            "moved": moved_figures(applied.state_before, watched.state_after),
        }
    migration = plan.migration
    return Event(Kind.AFTER, facts, version=migration.version, name=migration.name, run=plan.run)


def _look(
    connection: Connection, plan: Plan, before: Violations | None, unread: Unread
) -> tuple[State, Mapping[str, int], tuple[str, ...]]:
    """Figures and rows of one moment, and the new violations that stay.

    Customers make and mend violations all the time, where a series of calls of the app's is not yet
    at its end: one that each look sees is none of those.
    """
    invariants = unread.readable(plan.project.invariants)
    figures = unread.readable(plan.project.state)
    staying: set[str] | None = None
    for looks_left in reversed(range(_LOOKS)):
        with connection.transaction():
            connection.execute("set transaction isolation level repeatable read")
            now = read_violations(connection, invariants)
            state = read_state(connection, figures)
            tables = read_tables(connection, project_schemas(connection))
            rows = count_rows(connection, tables)
        new = set() if before is None else set(new_violations(before, now))
        staying = new if staying is None else staying & new
        if not staying or not looks_left:
            break
        time.sleep(_BETWEEN_LOOKS_SECONDS)
    return state, rows, tuple(sorted(staying or ()))


def _whose(applied: Applied | None) -> str:
    if applied is not None and applied.steps is not None:
        return (
            "People are at work between its steps: it may have been a step, or somebody else; on"
            " the copy no step broke any."
        )
    if applied is not None and applied.compared_inside:
        return (
            "It wrote rows, and no invariant was broken when it committed: somebody has broken them"
            " since, with the new functions or without."
        )
    return (
        "It wrote no rows that an invariant looks at: somebody has broken them since, with the new"
        " functions or without."
    )
