"""Step 5: the one step that changes the live database, in one transaction with all its proof."""

import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from pymilk.database.catalog import Catalog, project_schemas
from pymilk.database.connection import Connection
from pymilk.database.contents import Contents, read_tables
from pymilk.database.history import lock_history, prepare_history, record_applied
from pymilk.database.ledger import Event, Kind, record
from pymilk.database.recorded_catalog import read_catalog_beside, record_catalogs
from pymilk.database.surroundings import QUERY as AROUND
from pymilk.database.surroundings import Change, changes, surroundings_of
from pymilk.deploy.apply_steps import run_steps
from pymilk.deploy.basis.evidence import (
    Applied,
    Evidence,
    State,
    Unread,
    Violations,
)
from pymilk.deploy.basis.lock import lock_this_transaction
from pymilk.deploy.basis.made import read_made
from pymilk.deploy.basis.plan import Plan
from pymilk.deploy.change.figures import (
    count_rows,
    differing_figures,
    new_violations,
    read_state,
    read_violations,
)
from pymilk.deploy.change.give_back import give_back_to, still_archived
from pymilk.deploy.change.one_go import LOCKED_SECONDS, Cursor, in_one_go
from pymilk.deploy.change.row_proof import read_marks, tables_written
from pymilk.deploy.change.script import ScriptFailed, read_settings
from pymilk.deploy.change.strong_locks import (
    Needed,
    in_use,
    keeping_out,
    needed_by,
    queue_ms,
    taking,
)
from pymilk.deploy.change.transaction import Done, all_or_nothing, standing
from pymilk.deploy.proof import (
    proof_facts,
    refuse_moved_history,
    refuse_moved_schema,
    refuse_stale_proof,
    violation_facts,
)
from pymilk.problem import Problem, Refused
from pymilk.project.migrations import Script

_ROLLED_BACK = "Nothing was changed: the transaction was rolled back."


class _NotQuiet(Exception):  # noqa: N818 - a signal between attempts
    """Something was seen that a customer may have done at that very moment; it is rolled back.

    The next attempt keeps every writer out of the tables that it was read from. What is seen then
    is the migration's own doing, and refused as `refusal` says.
    """

    def __init__(self, refusal: Refused | ScriptFailed, tables: frozenset[str]) -> None:
        super().__init__(refusal.happened)
        self.refusal = refusal
        self.tables = tables


@dataclass(frozen=True)
class _Outcome:
    """What one attempt saw, the moment before it committed.

    Attributes:
        locked_seconds: How long the strong locks had been held by then, by the server's clock.
        answered: When the answer to that came, on the monotonic clock.
        around: What the migration changed around the schema.
    """

    state_before: State
    rows_before: Mapping[str, int]
    violations_before: Violations
    given_back: Mapping[str, int]
    left_in_archive: Mapping[str, int]
    made: Mapping[str, Contents]
    written: tuple[str, ...]
    compared: bool
    locked_seconds: float
    answered: float
    around: Mapping[str, Change]


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
    needed = needed_by(rehearsed.up)

    def change(first: Needed | None) -> Done[_Outcome]:
        def work(connection: Connection, token: uuid.UUID) -> _Outcome:
            return _apply(connection, plan, evidence, token, first)

        return all_or_nothing(guard, plan.target, plan.policy, work)

    try:
        try:
            # Of tables that it changes the figures are read under its locks; others hold still by
            # themselves, as a rule, and nobody waits.
            moves = rehearsed.weighed_tables.intersection(rehearsed.changed_tables)
            done = change(needed if moves else None)
        except _NotQuiet as signal:
            done = change(keeping_out(signal.tables, needed))
    except _NotQuiet as signal:
        raise _with_state(signal.refusal, plan) from signal
    except (ScriptFailed, Refused) as problem:
        raise _with_state(problem, plan) from problem.__cause__
    return replace(evidence, applied=_applied(done))


def _with_state(problem: ScriptFailed | Refused, plan: Plan) -> Problem:
    problem.state = f"{_ROLLED_BACK} {standing(plan.target, plan.migration.version)}"
    return problem


def _apply(
    connection: Connection,
    plan: Plan,
    evidence: Evidence,
    token: uuid.UUID,
    first: Needed | None,
) -> _Outcome:
    """One attempt; `first` are locks to take before figures and violations are read."""
    rehearsed = evidence.rehearsal
    if rehearsed is None:
        raise AssertionError("nothing is applied before it was rehearsed")
    project, migration = plan.project, plan.migration
    lock_this_transaction(connection)
    prepare_history(connection)
    lock_history(connection)
    refuse_moved_history(connection, plan)
    # Everything that is long to plan, to read or to send comes before the first strong lock.
    record_catalogs(connection, [rehearsed.before, rehearsed.after])
    before = read_catalog_beside(connection, rehearsed.before)
    refuse_moved_schema(rehearsed.before, before)
    tables = read_tables(connection, project_schemas(connection))
    # Within a savepoint, so that only what figures and violations look at stays in use.
    with connection.transaction(force_rollback=True):
        rows_before = count_rows(connection, tables)
    archived = still_archived(connection, migration.version)
    settings = read_settings(connection)
    marks = read_marks(connection)
    queue = queue_ms(plan.policy, rehearsed.up.strong_lock_seconds)
    locks = taking(connection, needed_by(rehearsed.up), tables, queue)

    if first is not None:
        holding = taking(connection, first, tables, queue)
        if holding is not None:
            with in_one_go(connection, settings) as go:
                go.take(holding)
        locks = None
    violations = read_violations(
        connection, rehearsed.unread.readable(project.invariants), rehearsed.unread.before
    )
    state = read_state(connection, project.state, rehearsed.unread.before)
    with in_one_go(connection, settings) as go:
        stood = go.query(AROUND)
        go.script(migration.up, locks)
        stands = go.query(AROUND)
        held = go.query(LOCKED_SECONDS)
    answered = time.monotonic()
    written = tables_written(connection, marks)
    given_back = give_back_to(connection, migration) if archived else {}
    made = read_made(connection, tables, written, given_back)
    if migration.verify is not None:
        _run_canary(connection, migration.verify, settings, rehearsed.canary_tables)
    compared = not written.isdisjoint(rehearsed.weighed_tables)
    if compared:
        _refuse_moved_money(connection, plan, rehearsed.unread, state, violations)
    after = read_catalog_beside(connection, rehearsed.after)
    _refuse_other_schema(rehearsed.after, after)
    outcome = _Outcome(
        state,
        rows_before,
        violations,
        given_back,
        still_archived(connection, migration.version) if archived else {},
        made,
        tuple(sorted(written)),
        compared,
        _only_number(held),
        answered,
        changes(surroundings_of(stood), surroundings_of(stands)),
    )
    event = Event(
        Kind.DEPLOY,
        {**proof_facts(plan, evidence, rehearsed), **_outcome_facts(outcome)},
        version=migration.version,
        name=migration.name,
        revision=plan.revision.commit,
        checksum=migration.up.checksum,
        before=before,
        after=after,
        run=plan.run,
        plan_hash=evidence.plan_hash,
    )
    with connection.pipeline():
        record_applied(connection, migration)
        # PostgREST learns of new functions when this commits, not a moment earlier.
        connection.execute("notify pgrst, 'reload schema'")
        record(connection, event, token)
    return outcome


def _only_number(cursor: Cursor) -> float:
    row = cursor.fetchone()
    return float(row[0]) if row else 0.0


def _run_canary(
    connection: Connection, canary: Script, settings: Mapping[str, str], tables: frozenset[str]
) -> None:
    """On the copy it passed, where nobody came between two looks of it at the same rows."""
    try:
        with in_one_go(connection, settings) as go:
            go.canary(canary)
    except ScriptFailed as problem:
        raise _NotQuiet(problem, tables) from problem


def _refuse_moved_money(
    connection: Connection, plan: Plan, unread: Unread, state: State, violations: Violations
) -> None:
    """Its own transaction is the last that can take back rows which the migration wrote.

    Where it wrote none that figures or invariants look at, whatever moves is customers': that is
    looked at after the commit, when nobody waits for it.
    """
    label = plan.migration.label
    found = read_violations(connection, unread.readable(plan.project.invariants))
    broken = new_violations(violations, found)
    if broken:
        raise _NotQuiet(
            Refused(
                f"{label} breaks {len(broken)} invariant(s): {'; '.join(broken[:5])}",
                todo="The rehearsal didn't show it: look at the rows named.",
            ),
            in_use(connection),
        )
    moved = differing_figures(state, read_state(connection, unread.readable(plan.project.state)))
    if moved:
        raise _NotQuiet(
            Refused(
                f"{label} changes {len(moved)} figure(s): {'; '.join(moved[:5])}",
                todo="No deploy may change what anybody owes: mend the migration.",
            ),
            in_use(connection),
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
    del facts["answered"]  # a moment of this process, which says nothing to anybody later
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
        compared_inside=outcome.compared,
        given_back=outcome.given_back,
        left_in_archive=outcome.left_in_archive,
        steps=None,
    )
