"""Step 5 for a file that can't be one transaction: one step after the other, then the proof."""

import time
import uuid
from dataclasses import dataclass, replace

import psycopg

from pymilk.database.catalog import Catalog, project_schemas, read_catalog
from pymilk.database.connection import Connection
from pymilk.database.contents import read_tables
from pymilk.database.history import lock_history, prepare_history, record_applied
from pymilk.database.ledger import (
    Event,
    Kind,
    read_entries,
    read_recorded_catalog,
    record,
)
from pymilk.deploy.basis.evidence import Applied, Evidence, Rehearsed, State, Violations
from pymilk.deploy.basis.half import Half, half_of
from pymilk.deploy.basis.lock import lock_this_transaction
from pymilk.deploy.basis.plan import Plan
from pymilk.deploy.change.figures import count_rows, new_violations, read_state, read_violations
from pymilk.deploy.change.script import NOT_NOW, ScriptFailed, failure, run_verification
from pymilk.deploy.change.steps import run_step, set_again, steps_of
from pymilk.deploy.change.transaction import all_or_nothing, pause, standing
from pymilk.deploy.proof import (
    proof_facts,
    refuse_moved_history,
    refuse_moved_schema,
    violation_facts,
)
from pymilk.problem import Problem, TryAgainLater


@dataclass(frozen=True)
class _Start:
    """What there was before the first step of this run."""

    schema: Catalog
    state: State
    violations: Violations
    rows: dict[str, int]


def run_steps(plan: Plan, guard: Connection, evidence: Evidence, rehearsed: Rehearsed) -> Evidence:
    """Run the steps that are left, prove the result, and record it as applied.

    Raises:
        Problem: A step or the proof failed; says how far it came. Running it again goes on there.
        TryAgainLater: The locks of a step were not to be had.
    """
    started = time.monotonic()
    half = half_of(read_entries(guard, plan.migration.version), plan.migration.version)
    start = _start(guard, plan, rehearsed, half)
    done = half.done if half else 0
    set_again(guard, plan.migration.up, done)
    try:
        for number in range(done + 1, len(steps_of(plan.migration.up)) + 1):
            _patiently(guard, plan, number)

        def work(connection: Connection, token: uuid.UUID) -> None:
            _prove(connection, plan, evidence, start, token)

        finished = all_or_nothing(guard, plan.target, plan.policy, work)
    except Problem as problem:
        problem.state = standing(plan.target, plan.migration.version)
        problem.todo += f" It goes on from there: pymilk deploy {plan.migration.argument}"
        raise
    applied = Applied(
        seconds=time.monotonic() - started,
        locked_seconds=0.0,
        attempts=finished.attempts,
        state_before=start.state,
        rows_before=start.rows,
        violations_before=start.violations,
        compared_inside=False,
        given_back={},
        left_in_archive={},
    )
    return replace(evidence, applied=applied)


def _start(connection: Connection, plan: Plan, rehearsed: Rehearsed, half: Half | None) -> _Start:
    with connection.transaction():
        lock_this_transaction(connection)
        prepare_history(connection)
        lock_history(connection)
        refuse_moved_history(connection, plan)
        now = read_catalog(connection)
        refuse_moved_schema(rehearsed.before, now)
        rows = count_rows(connection, read_tables(connection, project_schemas(connection)))
        before = now
        if half is not None and half.before is not None:
            before = read_recorded_catalog(connection, half.before)
        return _Start(
            before,
            read_state(connection, plan.project.state),
            read_violations(connection, plan.project.invariants),
            dict(rows),
        )


def _patiently(connection: Connection, plan: Plan, number: int) -> None:
    statement = steps_of(plan.migration.up)[number - 1]
    for attempt in range(1, plan.policy.lock_attempts + 1):
        try:
            run_step(connection, plan, number)
        except NOT_NOW as error:
            if attempt == plan.policy.lock_attempts:
                raise TryAgainLater(
                    f"Step {number}: its locks were not to be had in {attempt} attempts.",
                    todo="Run it again when nobody is in the way.",
                ) from error
            time.sleep(pause(plan.policy, attempt))
        except psycopg.Error as error:
            if connection.closed:
                raise Problem(
                    f"The connection was lost in step {number}.", todo="Run it again."
                ) from error
            raise failure(plan.migration.up, statement, error) from error
        else:
            return


def _prove(
    connection: Connection, plan: Plan, evidence: Evidence, start: _Start, token: uuid.UUID
) -> None:
    migration, rehearsed = plan.migration, evidence.rehearsal
    if rehearsed is None:
        raise AssertionError("nothing is applied before it was rehearsed")
    lock_this_transaction(connection)
    lock_history(connection)
    refuse_moved_history(connection, plan)
    if migration.verify is not None:
        run_verification(connection, migration.verify)
    broken = new_violations(start.violations, read_violations(connection, plan.project.invariants))
    if broken:
        raise Problem(
            f"All steps are done, and {len(broken)} invariant(s) are broken that held before:"
            f" {'; '.join(broken[:5])}",
            todo="Look at the rows named.",
        )
    after = read_catalog(connection)
    difference = rehearsed.after.difference(after)
    if difference:
        raise ScriptFailed(
            "All steps are done, and the schema isn't what the rehearsal made of it: "
            + "; ".join(difference.sentences()),
            todo="Mend what differs.",
        )
    record_applied(connection, migration)
    connection.execute("notify pgrst, 'reload schema'")
    record(
        connection,
        Event(
            Kind.DEPLOY,
            {
                **proof_facts(plan, evidence, rehearsed),
                "steps": len(steps_of(migration.up)),
                "state_before": start.state,
                **violation_facts(start.violations),
            },
            version=migration.version,
            name=migration.name,
            revision=plan.revision.commit,
            checksum=migration.up.checksum,
            before=start.schema,
            after=after,
            run=plan.run,
        ),
        token,
    )
