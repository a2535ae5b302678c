"""The moves of a rehearsal, each on the copy: up, down, up as a deploy, down as at night."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from pymilk.database.catalog import Catalog, describe_difference, project_schemas, read_catalog
from pymilk.database.connection import Connection, Target
from pymilk.database.contents import Contents, read_positions, read_tables, turned_back
from pymilk.database.history import record_applied
from pymilk.database.ledger import Event, Kind, record
from pymilk.deploy.basis.evidence import ScriptRun, State, Violations
from pymilk.deploy.basis.made import read_made
from pymilk.deploy.basis.plan import Bench, Plan
from pymilk.deploy.change.figures import (
    differing_figures,
    new_violations,
    read_state,
    read_violations,
)
from pymilk.deploy.change.give_back import give_back_to, still_archived
from pymilk.deploy.change.rollback import RolledBack, roll_back
from pymilk.deploy.change.row_proof import read_marks, tables_written
from pymilk.deploy.change.script import run_script
from pymilk.deploy.change.strong_locks import in_use
from pymilk.deploy.rehearsal.observe import observe
from pymilk.problem import Problem
from pymilk.project.migrations import Migration, Script
from pymilk.project.project import Project

UNCHANGED = "Nothing was changed in the target: this was the copy."


class RehearsalFailed(Problem):
    """The rehearsal found what would have gone wrong on the live database."""


@dataclass(frozen=True)
class _Weighed:
    """What the project's figures and invariants said.

    Attributes:
        violations: Of the invariants.
        state: The figures.
        tables: What they looked at, by way of functions and views as well.
        seconds: How long that took.
    """

    violations: Violations
    state: State
    tables: frozenset[str]
    seconds: float


@dataclass(frozen=True)
class Weighing:
    """Figures and invariants, which a migration must leave as they are.

    Attributes:
        tables: What they look at, before it or after it.
        before_seconds: How long they took before.
        after_seconds: How long they took after.
    """

    tables: frozenset[str] = frozenset()
    before_seconds: float = 0.0
    after_seconds: float = 0.0


@dataclass(frozen=True)
class Up:
    """One go of the migration on the copy.

    Attributes:
        run: How the script ran.
        further_seconds: How long it then took to give back, to read what was made, and to verify.
        verify_seconds: How long of that the verification took.
        looked_at: Tables that the transaction had looked at or written to by the end of it.
        wrote: Tables that the migration itself wrote to.
        written: These, and those that rows were given back to.
        made: What it left in the tables that it made or wrote to.
        left: Table → archived rows that could not be given back.
        weighing: What it must leave as it is.
    """

    run: ScriptRun
    further_seconds: float
    verify_seconds: float
    looked_at: frozenset[str]
    wrote: frozenset[str]
    written: frozenset[str]
    made: Mapping[str, Contents]
    left: Mapping[str, int]
    weighing: Weighing = Weighing()


def up_alone(connection: Connection, plan: Plan) -> Up:
    """The migration and its verification.

    What an earlier rollback kept stays away: first the migration and its rollback have to be
    proven alone.

    Raises:
        RehearsalFailed: It breaks an invariant, changes a figure or sets a sequence back.
        ScriptFailed: A statement failed.
    """
    before = _weigh(connection, plan.project)
    with connection.transaction():
        ran = _up(connection, plan, _nothing_back)
    return replace(ran, weighing=_compare(connection, plan.project, before))


def up_as_deploy(connection: Connection, plan: Plan) -> Up:
    """The same as a deploy does it: with what an earlier rollback kept, recorded for the next one.

    Raises:
        RehearsalFailed: It breaks an invariant, changes a figure or sets a sequence back.
        ScriptFailed: A statement failed.
    """
    migration = plan.migration
    weighed = _weigh(connection, plan.project)
    with connection.transaction():
        before = read_catalog(connection)
        ran = _up(connection, plan, give_back_to)
        facts = {
            "made": {
                table: {"rows": found.rows, "fingerprint": found.fingerprint}
                for table, found in ran.made.items()
            },
            "rollback_script": migration.down.text if migration.down else None,
        }
        record_applied(connection, migration)
        record(
            connection,
            Event(
                Kind.DEPLOY,
                facts,
                version=migration.version,
                name=migration.name,
                checksum=migration.up.checksum,
                before=before,
                after=read_catalog(connection),
                run=plan.run,
            ),
        )
    return replace(ran, weighing=_compare(connection, plan.project, weighed))


def down_alone(connection: Connection, down: Script, before: Catalog) -> ScriptRun:
    """The rollback, as a script that somebody runs.

    Raises:
        RehearsalFailed: It doesn't restore the schema, or sets a sequence back.
        ScriptFailed: A statement failed.
    """
    with connection.transaction(), counting_on(connection, down):
        ran = observe(connection, down)
    restored = read_catalog(connection)
    if before.difference(restored):
        raise RehearsalFailed(
            f"The rollback doesn't restore the schema: {describe_difference(before, restored)}",
            state=UNCHANGED,
            todo=f"Mend {down.path.name}.",
        )
    return ran


def down_as_at_night(bench: Bench, plan: Plan) -> RolledBack:
    """The rollback that `pymilk rollback` does, on the copy, keeping what would be lost.

    Raises:
        RehearsalFailed: It refused.
    """
    here = replace(plan, target=Target(bench.owner_url, plan.target.preset), overrides={})
    try:
        return roll_back(here, archive=True)
    except Problem as problem:
        raise RehearsalFailed(
            f"Once it has been used, {plan.migration.label} can't be rolled back:"
            f" {problem.happened}",
            state=UNCHANGED,
            todo=problem.todo,
        ) from problem


@contextmanager
def counting_on(connection: Connection, script: Script) -> Iterator[None]:
    """Refuse a script that sets a sequence back: the next order would get a number twice.

    Raises:
        RehearsalFailed: It does.
    """
    before = read_positions(connection, project_schemas(connection))
    yield
    back = turned_back(before, read_positions(connection, project_schemas(connection)))
    if back:
        raise RehearsalFailed(
            f"{script.path.parent.name}/{script.path.name} sets sequences back: {', '.join(back)}.",
            state=UNCHANGED,
            todo="Let them go on counting; the numbers after the last one are still free.",
        )


def _nothing_back(_connection: Connection, _migration: Migration) -> Mapping[str, int]:
    return {}


def _up(
    connection: Connection,
    plan: Plan,
    give_back: Callable[[Connection, Migration], Mapping[str, int]],
) -> Up:
    migration = plan.migration
    existed = read_tables(connection, project_schemas(connection))
    marks = read_marks(connection)
    with counting_on(connection, migration.up):
        run = observe(connection, migration.up)
    started = time.perf_counter()
    wrote = tables_written(connection, marks)
    given = give_back(connection, migration)
    written = tables_written(connection, marks)
    made = read_made(connection, existed, written, given)
    verify_seconds, looked_at = _canary(connection, migration.verify)
    further_seconds = time.perf_counter() - started
    left = still_archived(connection, migration.version)
    return Up(run, further_seconds, verify_seconds, looked_at, wrote, written, made, left)


def _weigh(connection: Connection, project: Project) -> _Weighed:
    # In a transaction that does nothing else: its locks are on what they look at.
    with connection.transaction():
        started = time.perf_counter()
        violations = read_violations(connection, project.invariants)
        state = read_state(connection, project.state)
        seconds = time.perf_counter() - started
        return _Weighed(violations, state, in_use(connection), seconds)


def _compare(connection: Connection, project: Project, before: _Weighed) -> Weighing:
    """Read once more when it has committed: nobody else is here.

    Raises:
        RehearsalFailed: An invariant is broken that held before, or a figure has moved.
    """
    after = _weigh(connection, project)
    broken = new_violations(before.violations, after.violations)
    if broken:
        raise RehearsalFailed(
            f"The migration breaks {len(broken)} invariant(s) that held before:"
            f" {'; '.join(broken[:5])}",
            state=UNCHANGED,
            todo="Mend the migration; sql/invariants says what each one means.",
        )
    moved = differing_figures(before.state, after.state)
    if moved:
        raise RehearsalFailed(
            f"The migration changes {len(moved)} figure(s): {'; '.join(moved[:5])}",
            state=UNCHANGED,
            todo="No deploy may change what anybody owes; mend the migration.",
        )
    return Weighing(before.tables | after.tables, before.seconds, after.seconds)


def _canary(connection: Connection, canary: Script | None) -> tuple[float, frozenset[str]]:
    """Run it and undo everything it did: its seconds, and what its locks are on before they go."""
    if canary is None:
        return 0.0, frozenset()
    with connection.transaction(force_rollback=True):
        started = time.perf_counter()
        run_script(connection, canary)
        return time.perf_counter() - started, in_use(connection)
