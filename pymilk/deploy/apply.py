"""Step 5: the one step that changes the live database, in one transaction with all its proof."""

import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial

from psycopg import sql

from pymilk.database.catalog import Catalog, project_schemas, read_catalog
from pymilk.database.connection import Connection
from pymilk.database.contents import Contents, Table, read_tables
from pymilk.database.history import lock_history, prepare_history, record_applied
from pymilk.database.ledger import Event, Kind, record
from pymilk.database.recorded_catalog import read_catalog_beside, record_catalog
from pymilk.deploy.apply_steps import run_steps
from pymilk.deploy.evidence import (
    Applied,
    Evidence,
    Rehearsed,
    State,
    Violations,
)
from pymilk.deploy.figures import (
    count_rows,
    differing_figures,
    new_violations,
    read_state,
    read_violations,
)
from pymilk.deploy.give_back import give_back_to, still_archived
from pymilk.deploy.lock import lock_this_transaction
from pymilk.deploy.made import read_made
from pymilk.deploy.one_go import LOCKED_SECONDS, MARK_LOCKED, Cursor, in_one_go
from pymilk.deploy.plan import Plan
from pymilk.deploy.proof import (
    proof_facts,
    refuse_moved_history,
    refuse_moved_schema,
    refuse_stale_proof,
    violation_facts,
)
from pymilk.deploy.recorded import Refused
from pymilk.deploy.row_proof import read_marks, tables_written
from pymilk.deploy.script import ScriptFailed, read_settings
from pymilk.deploy.strong_locks import Taking, locking_all, needed_by, take_all, taking
from pymilk.deploy.transaction import Done, all_or_nothing, standing
from pymilk.project.policy import Policy

# A shorter queue than this is none at all.
_SHORTEST_QUEUE_MS = 20

_ROLLED_BACK = "Nothing was changed: the transaction was rolled back."


class _MoneyMoved(Refused):
    """Figures moved, or an invariant broke: the migration did it, or a customer meanwhile."""


@dataclass(frozen=True)
class _Proven:
    """What is to be applied, and what was proven of it."""

    plan: Plan
    evidence: Evidence
    rehearsed: Rehearsed


@dataclass(frozen=True)
class _Before:
    """What there was before the change.

    Attributes:
        catalog: The schema.
        tables: The project's tables.
        rows: How many rows each has.
        state: The project's figures.
        violations: What its invariants find.
        archived: What an earlier rollback kept and is still there to be given back.
    """

    catalog: Catalog
    tables: tuple[Table, ...]
    rows: Mapping[str, int]
    state: State
    violations: Violations
    archived: Mapping[str, int]


@dataclass(frozen=True)
class _Outcome:
    """What one attempt saw, the moment before it committed.

    Attributes:
        locked_seconds: How long the strong locks had been held by then, by the server's clock.
        answered: When the answer to that came, on the monotonic clock.
    """

    state_before: State
    rows_before: Mapping[str, int]
    violations_before: Violations
    given_back: Mapping[str, int]
    left_in_archive: Mapping[str, int]
    made: Mapping[str, Contents]
    written: tuple[str, ...]
    locked_seconds: float
    answered: float


def run(plan: Plan, guard: Connection, evidence: Evidence) -> Evidence:
    """Apply the migration exactly as it was rehearsed, or leave nothing.

    Raises:
        Refused: The proof failed inside the transaction.
        ScriptFailed: A statement failed.
        TryAgainLater: The locks were not to be had, or the window is closing.
    """
    rehearsed = refuse_stale_proof(plan, evidence)
    if plan.migration.up.in_steps:
        return run_steps(plan, guard, evidence, rehearsed)
    try:
        done = _applied_by(guard, _Proven(plan, evidence, rehearsed))
    except (ScriptFailed, Refused) as problem:
        problem.state = f"{_ROLLED_BACK} {standing(plan.target, plan.migration.version)}"
        raise
    return replace(evidence, applied=_applied(done))


def _applied_by(guard: Connection, proven: _Proven) -> Done[_Outcome]:
    """Beside customers who go on; and where rows are written, with nobody else's in sight."""
    plan, rehearsed = proven.plan, proven.rehearsed
    if not rehearsed.changed_tables:
        try:
            return all_or_nothing(guard, plan.target, plan.policy, partial(_beside, proven))
        except _MoneyMoved:
            pass  # it wrote, against expectation: whose doing it was is seen the other way
    with guard.transaction():
        lock_this_transaction(guard)
        prepare_history(guard)
    refuse_moved_history(guard, plan)
    before = _look(guard, plan, rehearsed)
    locking = locking_all(guard, needed_by(rehearsed.up), (), before.tables)
    return all_or_nothing(guard, plan.target, plan.policy, partial(_alone, proven, before, locking))


def _beside(proven: _Proven, connection: Connection, token: uuid.UUID) -> _Outcome:
    """Apply what writes no rows: all that reads whole tables comes before the first strong lock."""
    plan, rehearsed = proven.plan, proven.rehearsed
    lock_this_transaction(connection)
    prepare_history(connection)
    lock_history(connection)
    refuse_moved_history(connection, plan)
    before = _look(connection, plan, rehearsed)
    queue = _queue_ms(plan.policy, rehearsed)
    locks = taking(connection, needed_by(rehearsed.up), before.tables, queue)
    return _change(connection, token, proven, before, locks)


def _alone(
    proven: _Proven,
    looked: _Before,
    locking: sql.Composed | None,
    connection: Connection,
    token: uuid.UUID,
) -> _Outcome:
    """Apply what writes rows: in a snapshot of its own, so that nobody else can move a figure.

    Every lock comes before that snapshot is taken: what a script finds in a table that it locks is
    all there is. A row of another table that a customer changes at the same time makes Postgres
    refuse, and it is tried again.
    """
    plan = proven.plan
    connection.execute("set transaction isolation level repeatable read")
    lock_history(connection)
    take_all(connection, locking, _queue_ms(plan.policy, proven.rehearsed))
    # The snapshot begins here.
    connection.execute(MARK_LOCKED)
    lock_this_transaction(connection)
    refuse_moved_history(connection, plan)
    before = replace(
        looked,
        violations=read_violations(connection, plan.project.invariants),
        state=read_state(connection, plan.project.state),
    )
    return _change(connection, token, proven, before, None)


def _look(connection: Connection, plan: Plan, rehearsed: Rehearsed) -> _Before:
    """Read and send what takes long, while nobody waits for it."""
    catalog = read_catalog(connection)
    refuse_moved_schema(rehearsed.before, catalog)
    tables = read_tables(connection, project_schemas(connection))
    before = _Before(
        catalog=catalog,
        tables=tables,
        rows=count_rows(connection, tables),
        state=read_state(connection, plan.project.state),
        violations=read_violations(connection, plan.project.invariants),
        archived=still_archived(connection, plan.migration.version),
    )
    record_catalog(connection, catalog)
    record_catalog(connection, rehearsed.after)
    return before


def _change(
    connection: Connection,
    token: uuid.UUID,
    proven: _Proven,
    before: _Before,
    locks: Taking | None,
) -> _Outcome:
    """Run the script and prove it, up to the moment before the commit."""
    plan, rehearsed = proven.plan, proven.rehearsed
    migration = plan.migration
    settings = read_settings(connection)
    marks = read_marks(connection)
    with in_one_go(connection, settings) as go:
        go.script(migration.up, locks)
        held = go.query(LOCKED_SECONDS)
    answered = time.monotonic()
    written = tables_written(connection, marks)
    given_back = give_back_to(connection, migration) if before.archived else {}
    made = read_made(connection, before.tables, written, given_back)
    if migration.verify is not None:
        with in_one_go(connection, settings) as go:
            go.canary(migration.verify)
    if written:
        _refuse_moved_money(connection, plan, before)
    after = read_catalog_beside(connection, rehearsed.after)
    _refuse_other_schema(rehearsed.after, after)
    outcome = _Outcome(
        before.state,
        before.rows,
        before.violations,
        given_back,
        still_archived(connection, migration.version) if before.archived else {},
        made,
        tuple(sorted(written)),
        _only_number(held),
        answered,
    )
    event = Event(
        Kind.DEPLOY,
        {**proof_facts(plan, proven.evidence, rehearsed), **_outcome_facts(outcome)},
        version=migration.version,
        name=migration.name,
        revision=plan.revision.commit,
        checksum=migration.up.checksum,
        before=before.catalog,
        after=after,
        run=plan.run,
        plan_hash=proven.evidence.plan_hash,
    )
    with connection.pipeline():
        record_applied(connection, migration)
        # PostgREST learns of new functions when this commits, not a moment earlier.
        connection.execute("notify pgrst, 'reload schema'")
        record(connection, event, token)
    return outcome


def _queue_ms(policy: Policy, rehearsed: Rehearsed) -> int:
    """How long to queue: a reader who comes meanwhile waits for that, and then for the change."""
    left = policy.reader_wait_ms - round(rehearsed.up.strong_lock_seconds * 1000)
    return max(_SHORTEST_QUEUE_MS, min(policy.lock_timeout_ms, left))


def _only_number(cursor: Cursor) -> float:
    row = cursor.fetchone()
    return float(row[0]) if row else 0.0


def _refuse_moved_money(connection: Connection, plan: Plan, before: _Before) -> None:
    """Where the migration wrote rows, its own transaction is the last that can take them back.

    Where it wrote none, whatever moves is customers': that is looked at after the commit, when
    nobody waits for it.
    """
    label = plan.migration.label
    after = read_violations(connection, plan.project.invariants)
    broken = new_violations(before.violations, after)
    if broken:
        raise _MoneyMoved(
            f"{label} breaks {len(broken)} invariant(s): {'; '.join(broken[:5])}",
            todo="The rehearsal's copy didn't show it: look at the rows named.",
        )
    moved = differing_figures(before.state, read_state(connection, plan.project.state))
    if moved:
        raise _MoneyMoved(
            f"{label} changes {len(moved)} figure(s): {'; '.join(moved[:5])}",
            todo="No deploy may change what anybody owes: mend the migration.",
        )


def _refuse_other_schema(rehearsed: Catalog, live: Catalog) -> None:
    difference = rehearsed.difference(live)
    if difference:
        raise Refused(
            "The schema isn't what the rehearsal made of it: " + "; ".join(difference.sentences()),
            todo="Rehearse again: pymilk rehearse, then compare.",
        )


def _outcome_facts(outcome: _Outcome) -> dict[str, object]:
    facts = asdict(outcome)
    return {**facts, **violation_facts(facts.pop("violations_before"))}


def _applied(done: Done[_Outcome]) -> Applied:
    outcome = done.result
    return Applied(
        seconds=done.seconds,
        locked_seconds=outcome.locked_seconds + done.ended - outcome.answered,
        attempts=done.attempts,
        state_before=outcome.state_before,
        rows_before=outcome.rows_before,
        violations_before=outcome.violations_before,
        compared_inside=bool(outcome.written),
        given_back=outcome.given_back,
        left_in_archive=outcome.left_in_archive,
    )
