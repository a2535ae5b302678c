"""The moves of a rehearsal, each on the copy: up, down, up as a deploy, down as at night."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from pymilk.database.catalog import Catalog, describe_difference, project_schemas, read_catalog
from pymilk.database.connection import Connection, Target
from pymilk.database.contents import Contents, Table, read_positions, read_tables, turned_back
from pymilk.database.history import record_applied
from pymilk.database.ledger import Event, Kind, record
from pymilk.deploy.basis.evidence import ScriptRun
from pymilk.deploy.basis.made import read_made
from pymilk.deploy.basis.plan import Bench, Plan
from pymilk.deploy.change.give_back import give_back_to, still_archived
from pymilk.deploy.change.rollback import RolledBack, roll_back
from pymilk.deploy.change.row_proof import Marks, read_marks, tables_written
from pymilk.deploy.change.script import run_script
from pymilk.deploy.change.strong_locks import in_use
from pymilk.deploy.rehearsal.failed import UNCHANGED, RehearsalFailed
from pymilk.deploy.rehearsal.observe import observe
from pymilk.deploy.rehearsal.steps_on_the_copy import Begun, run_steps
from pymilk.deploy.rehearsal.weighing import Weighing, compare, weigh
from pymilk.problem import Problem
from pymilk.project.migrations import Migration, Script


@dataclass(frozen=True)
class Up:
    """One go of the migration on the copy.

    Attributes:
        run: How the script ran.
        further_seconds: How long its locks were then held to give back, to read what was made, and
            to verify; as a deploy also to read the schema and to write the ledger. None of steps,
            which hold no lock any more by then.
        verify_seconds: How long the verification took.
        looked_at: Tables that the transaction had looked at or written to by the end of it.
        wrote: Tables that the migration itself wrote to.
        written: These, and those that rows were given back to.
        made: What it left in the tables that it made or wrote to.
        left: Table → archived rows that could not be given back.
        weighing: What it must leave as it is.
    """

    run: ScriptRun
    further_seconds: float | None
    verify_seconds: float
    looked_at: frozenset[str]
    wrote: frozenset[str]
    written: frozenset[str]
    made: Mapping[str, Contents]
    left: Mapping[str, int]
    weighing: Weighing = field(default_factory=Weighing)


@dataclass(frozen=True)
class _Ran:
    """The script, when it has run.

    Attributes:
        before: The schema before it.
        existed: The tables that were there before, where nobody else can have written to what it
            made; none in steps, between which people are at work.
        marks: By what writing to a table is noticed, from some moment of this transaction on.
        run: How it ran.
        wrote: Tables that it wrote to.
    """

    before: Catalog
    existed: tuple[Table, ...] | None
    marks: Marks
    run: ScriptRun
    wrote: frozenset[str]


_End = Callable[[Connection, Plan, _Ran], Up]
"""What follows the script, in a transaction: in that of the script, where it is one."""


def up_alone(connection: Connection, bench: Bench, plan: Plan, begun: Begun | None = None) -> Up:
    """The migration and its verification.

    What an earlier rollback kept stays away: first the migration and its rollback have to be
    proven alone.

    Args:
        connection: To the copy, outside of any transaction.
        bench: Where that is.
        plan: Whose migration.
        begun: How far its steps have come already.

    Raises:
        RehearsalFailed: It breaks an invariant, changes a figure or sets a sequence back.
        ScriptFailed: A statement failed.
    """
    return _up(connection, bench, plan, begun, _end_alone)


def up_as_deploy(
    connection: Connection, bench: Bench, plan: Plan, begun: Begun | None = None
) -> Up:
    """The same as a deploy does it: with what an earlier rollback kept, recorded for the next one.

    Raises:
        RehearsalFailed: It breaks an invariant, changes a figure or sets a sequence back.
        ScriptFailed: A statement failed.
    """
    return _up(connection, bench, plan, begun, _end_as_deploy)


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
            f"{script.short_path} sets sequences back: {', '.join(back)}.",
            state=UNCHANGED,
            todo="Let them go on counting; the numbers after the last one are still free.",
        )


def _up(connection: Connection, bench: Bench, plan: Plan, begun: Begun | None, end: _End) -> Up:
    before = weigh(connection, plan.project)
    go = _in_steps if plan.migration.up.in_steps else _in_one_transaction
    gone = go(connection, bench, plan, begun, end)
    return replace(gone, weighing=compare(connection, plan, before))


def _in_one_transaction(
    connection: Connection, _bench: Bench, plan: Plan, _begun: Begun | None, end: _End
) -> Up:
    script = plan.migration.up
    with connection.transaction():
        schema = read_catalog(connection)
        existed = read_tables(connection, project_schemas(connection))
        marks = read_marks(connection)
        with counting_on(connection, script):
            run = observe(connection, script)
        ran = _Ran(schema, existed, marks, run, tables_written(connection, marks))
        return end(connection, plan, ran)


def _in_steps(
    connection: Connection, bench: Bench, plan: Plan, begun: Begun | None, end: _End
) -> Up:
    script = plan.migration.up
    schema = begun.schema if begun else read_catalog(connection)
    with counting_on(connection, script):
        run, wrote = run_steps(connection, bench.owner_url, script, begun)
    with connection.transaction():
        ran = _Ran(schema, None, read_marks(connection), run, wrote)
        return replace(end(connection, plan, ran), further_seconds=None)


def _end_alone(connection: Connection, plan: Plan, ran: _Ran) -> Up:
    return _end(connection, plan, ran, lambda _connection, _migration: {})


def _end_as_deploy(connection: Connection, plan: Plan, ran: _Ran) -> Up:
    migration, started = plan.migration, time.perf_counter()
    up = _end(connection, plan, ran, give_back_to)
    facts = {
        "made": {
            table: {"rows": found.rows, "fingerprint": found.fingerprint}
            for table, found in up.made.items()
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
            before=ran.before,
            after=read_catalog(connection),
            run=plan.run,
        ),
    )
    return replace(up, further_seconds=time.perf_counter() - started)


def _end(
    connection: Connection,
    plan: Plan,
    ran: _Ran,
    give_back: Callable[[Connection, Migration], Mapping[str, int]],
) -> Up:
    migration, started = plan.migration, time.perf_counter()
    given = give_back(connection, migration)
    written = ran.wrote | tables_written(connection, ran.marks)
    made: Mapping[str, Contents] = {}
    if ran.existed is not None:
        made = read_made(connection, ran.existed, written, given)
    verify_seconds, looked_at = _canary(connection, migration.verify)
    return Up(
        run=ran.run,
        further_seconds=time.perf_counter() - started,
        verify_seconds=verify_seconds,
        looked_at=looked_at,
        wrote=ran.wrote,
        written=written,
        made=made,
        left=still_archived(connection, migration.version),
    )


def _canary(connection: Connection, canary: Script | None) -> tuple[float, frozenset[str]]:
    """Run it and undo everything it did: its seconds, and what its locks are on before they go."""
    if canary is None:
        return 0.0, frozenset()
    with connection.transaction(force_rollback=True):
        started = time.perf_counter()
        run_script(connection, canary)
        return time.perf_counter() - started, in_use(connection)
