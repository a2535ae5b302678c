"""Step 5 for a file that can't be one transaction: one step after the other, then the proof."""

import time
import uuid
from collections.abc import Mapping
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
from pymilk.deploy.basis.blockers import watching
from pymilk.deploy.basis.evidence import (
    Applied,
    Blocked,
    Evidence,
    Rehearsed,
    State,
    StatementRun,
    Violations,
)
from pymilk.deploy.basis.half import Half, half_of
from pymilk.deploy.basis.lock import lock_this_transaction, session_of
from pymilk.deploy.basis.plan import Plan
from pymilk.deploy.change.figures import count_rows, new_violations, read_state, read_violations
from pymilk.deploy.change.give_back import give_back_to, still_archived
from pymilk.deploy.change.script import NOT_NOW, ScriptFailed, run_verification
from pymilk.deploy.change.steps import run_in_a_transaction, run_outside, set_again, steps_of
from pymilk.deploy.change.strong_locks import needed_at, queue_ms, taking
from pymilk.deploy.change.transaction import all_or_nothing, pause, standing
from pymilk.deploy.proof import (
    proof_facts,
    refuse_moved_history,
    refuse_moved_schema,
    violation_facts,
)
from pymilk.problem import Problem, TryAgainLater
from pymilk.project.migrations import runs_outside_transactions


@dataclass(frozen=True)
class _Start:
    """What there was before the first step of this run."""

    schema: Catalog
    state: State
    violations: Violations
    rows: dict[str, int]


@dataclass(frozen=True)
class _Proven:
    """What there was to do when all steps were done.

    Attributes:
        given_back: Table → rows that an earlier rollback had kept, given back.
        left_in_archive: Table → archived rows in whose place newer values stand.
    """

    given_back: Mapping[str, int]
    left_in_archive: Mapping[str, int]


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
    longest = 0.0
    try:
        for number, seen in enumerate(rehearsed.up.statements, done + 1):
            longest = max(longest, _step(guard, plan, number, seen))

        def work(connection: Connection, token: uuid.UUID) -> _Proven:
            return _prove(connection, plan, evidence, start, token)

        finished = all_or_nothing(guard, plan.target, plan.policy, work)
    except Problem as problem:
        problem.state = standing(plan.target, plan.migration.version)
        problem.todo += f" It goes on from there: pymilk deploy {plan.migration.argument}"
        raise
    applied = Applied(
        seconds=time.monotonic() - started,
        locked_seconds=longest,
        attempts=finished.attempts,
        state_before=start.state,
        rows_before=start.rows,
        violations_before=start.violations,
        compared_inside=False,
        given_back=finished.result.given_back,
        left_in_archive=finished.result.left_in_archive,
        steps=len(steps_of(plan.migration.up)),
    )
    return replace(evidence, applied=applied)


def _step(guard: Connection, plan: Plan, number: int, seen: StatementRun) -> float:
    """Run one step, as long as its locks take to be had; seconds for which it then held them.

    Raises:
        Problem: The connection was lost.
        ScriptFailed: It failed.
        TryAgainLater: Its locks were not to be had.
    """
    if guard.closed:  # at the commit of the step before, which the ledger has
        raise Problem(f"The connection was lost after step {number - 1}.", todo="Run it again.")
    if runs_outside_transactions(steps_of(plan.migration.up)[number - 1]):
        return _step_outside(guard, plan, number, seen)
    tables = read_tables(guard, project_schemas(guard))
    queue = queue_ms(plan.policy, seen.held_seconds)
    locks = taking(guard, needed_at(seen), tables, queue)

    def work(connection: Connection, token: uuid.UUID) -> float:
        return run_in_a_transaction(connection, plan, number, locks, token)

    done = all_or_nothing(guard, plan.target, plan.policy, work)
    return done.ended - done.result if locks is not None else 0.0


def _step_outside(guard: Connection, plan: Plan, number: int, seen: StatementRun) -> float:
    policy, refused, attempt = plan.policy, None, 0
    # What is made concurrently queues without keeping anybody out; anything else does not.
    patient = "concurrently" in steps_of(plan.migration.up)[number - 1].words
    began = time.monotonic()
    with watching(plan.target, session_of(guard)) as in_the_way:
        while (left := policy.lock_patience_seconds - (time.monotonic() - began)) > 0:
            if attempt == policy.lock_attempts:
                break
            attempt += 1
            started = time.monotonic()
            try:
                wait = left if patient else policy.lock_timeout_ms / 1000
                run_outside(guard, plan, number, wait)
            except NOT_NOW as error:
                refused = error
                time.sleep(pause(policy, attempt))
            except psycopg.Error as error:
                if not guard.closed:
                    raise
                raise Problem(
                    f"The connection was lost in step {number}.", todo="Run it again."
                ) from error
            else:
                held = time.monotonic() - started
                return 0.0 if seen.blocks is Blocked.NOBODY else held
    raise TryAgainLater(
        f"Step {number}: its locks could not be acquired in {attempt} attempts over"
        f" {time.monotonic() - began:.0f} s; in the way: {in_the_way}.",
        todo="Run it again when nobody is in the way.",
    ) from refused


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
            read_state(connection, plan.project.state, rehearsed.unread.before),
            read_violations(
                connection,
                rehearsed.unread.readable(plan.project.invariants),
                rehearsed.unread.before,
            ),
            dict(rows),
        )


def _prove(
    connection: Connection, plan: Plan, evidence: Evidence, start: _Start, token: uuid.UUID
) -> _Proven:
    migration, rehearsed = plan.migration, evidence.rehearsal
    if rehearsed is None:
        raise AssertionError("nothing is applied before it was rehearsed")
    lock_this_transaction(connection)
    lock_history(connection)
    refuse_moved_history(connection, plan)
    given_back = give_back_to(connection, migration)
    left_in_archive = still_archived(connection, migration.version)
    if migration.verify is not None:
        run_verification(connection, migration.verify)
    found = read_violations(connection, rehearsed.unread.readable(plan.project.invariants))
    broken = new_violations(start.violations, found)
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
                "given_back": given_back,
                "left_in_archive": left_in_archive,
                **violation_facts(start.violations),
            },
            version=migration.version,
            name=migration.name,
            revision=plan.revision.commit,
            checksum=migration.up.checksum,
            before=start.schema,
            after=after,
            run=plan.run,
            plan_hash=evidence.plan_hash,
        ),
        token,
    )
    return _Proven(given_back, left_in_archive)
