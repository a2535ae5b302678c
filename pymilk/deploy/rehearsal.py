"""Step 4: the whole deploy and its rollback, on the restored copy of the live data."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace

from pymilk.database.catalog import Catalog, project_schemas, read_catalog
from pymilk.database.connection import Connection, connect, first_line
from pymilk.database.contents import (
    Contents,
    Table,
    differing_tables,
    read_all_contents,
    read_contents,
    read_positions,
    read_tables,
    turned_back,
)
from pymilk.database.ledger import Event, Kind, record
from pymilk.deploy.evidence import Evidence, Rehearsed, ScriptRun
from pymilk.deploy.figures import (
    differing_figures,
    new_violations,
    read_state,
    read_violations,
)
from pymilk.deploy.give_back import give_back_to
from pymilk.deploy.observe import followed_by, observe
from pymilk.deploy.plan import Bench, Plan
from pymilk.deploy.script import NOT_NOW, ScriptFailed, run_verification
from pymilk.problem import Problem
from pymilk.project.migrations import Script

_UNCHANGED = "Nothing was changed in the target: this was the copy."


class RehearsalFailed(Problem):
    """The rehearsal found what would have gone wrong on the live database."""


def run(plan: Plan, bench: Bench, evidence: Evidence) -> Evidence:
    """Rehearse on the bench's copy, and write what was found into the ledger.

    Raises:
        RehearsalFailed: Something did not hold.
        ScriptFailed: A script of the migration failed.
    """
    rehearsed = rehearse(plan, bench)
    with connect(plan.target.url, purpose="ledger") as connection:
        record(
            connection,
            Event(
                Kind.REHEARSAL,
                rehearsal_facts(rehearsed),
                version=plan.migration.version,
                name=plan.migration.name,
                checksum=plan.migration.up.checksum,
                run=plan.run,
            ),
        )
    return replace(evidence, rehearsal=rehearsed)


def rehearse(plan: Plan, bench: Bench) -> Rehearsed:
    """Up, verify, down, compare, up, verify, compare, on the bench's copy.

    Raises:
        RehearsalFailed: Something did not hold.
        ScriptFailed: A script of the migration failed.
    """
    with connect(bench.owner_url, purpose="rehearsal") as connection:
        try:
            return _rehearse(connection, plan)
        except ScriptFailed as problem:
            problem.state = _UNCHANGED
            raise
        except NOT_NOW as error:
            # Nobody else is on the copy: on the live database it would be tried again for ever.
            raise RehearsalFailed(
                f"A script raises what says 'try again': {first_line(error)}",
                state=_UNCHANGED,
                todo="Raise another SQLSTATE: 40001, 40P01 and 55P03 are Postgres's own.",
            ) from error


def _rehearse(connection: Connection, plan: Plan) -> Rehearsed:
    before = read_catalog(connection)
    tables = read_tables(connection, project_schemas(connection))
    contents = read_all_contents(connection, tables)
    up, verify_seconds = _up(connection, plan)
    after = read_catalog(connection)
    changed = _changed_tables(connection, tables, contents)
    down = None
    if plan.migration.down is not None:
        down = _down(connection, plan, before, contents)
        _up(connection, plan, giving_back=True)
        again = after.difference(read_catalog(connection))
        if again:
            raise RehearsalFailed(
                "Deployed a second time, the schema isn't the same as the first time: "
                + "; ".join(again.sentences()),
                state=_UNCHANGED,
                todo="Make the migration's result independent of what was there before.",
            )
    return Rehearsed(before, after, up, verify_seconds, down, changed)


def rehearsal_facts(rehearsed: Rehearsed) -> dict[str, object]:
    """What the ledger keeps of a rehearsal."""
    return {
        "before": rehearsed.before.fingerprint,
        "after": rehearsed.after.fingerprint,
        "up_seconds": rehearsed.up_seconds,
        "down_seconds": rehearsed.down.seconds if rehearsed.down else None,
        "locks": {table: asdict(held) for table, held in rehearsed.up.locked.items()},
        "strong_lock_seconds": rehearsed.up.strong_lock_seconds,
        "changed_tables": rehearsed.changed_tables,
    }


def _up(
    connection: Connection, plan: Plan, *, giving_back: bool = False
) -> tuple[ScriptRun, float]:
    """Run the migration as a deploy would; how it ran, and the seconds of its verification."""
    project, verify_seconds = plan.project, 0.0
    with connection.transaction():
        violations = read_violations(connection, project.invariants)
        state = read_state(connection, project.state)
        with _counting_on(connection, plan.migration.up):
            ran = observe(connection, plan.migration.up)
        # The first time, what an earlier rollback kept stays away: the rollback has to be proven.
        if giving_back:
            give_back_to(connection, plan.migration)
        if plan.migration.verify is not None:
            verify_seconds = run_verification(connection, plan.migration.verify)
        broken = new_violations(violations, read_violations(connection, project.invariants))
        if broken:
            raise RehearsalFailed(
                f"The migration breaks {len(broken)} invariant(s) that held before:"
                f" {'; '.join(broken[:5])}",
                state=_UNCHANGED,
                todo="Mend the migration; sql/invariants says what each one means.",
            )
        moved = differing_figures(state, read_state(connection, project.state))
        if moved:
            raise RehearsalFailed(
                f"The migration changes {len(moved)} figure(s): {'; '.join(moved[:5])}",
                state=_UNCHANGED,
                todo="No deploy may change what anybody owes; mend the migration.",
            )
    return followed_by(ran, verify_seconds), verify_seconds


def _down(
    connection: Connection,
    plan: Plan,
    before: Catalog,
    contents: Mapping[str, Contents],
) -> ScriptRun:
    if plan.migration.down is None:
        raise AssertionError("asked for only where there is a rollback")
    with connection.transaction(), _counting_on(connection, plan.migration.down):
        ran = observe(connection, plan.migration.down)
    restored = read_catalog(connection)
    difference = before.difference(restored)
    if difference:
        name = next(iter(sorted(difference.names)))
        raise RehearsalFailed(
            "The rollback doesn't restore the schema: "
            + "; ".join(difference.sentences())
            + f"\n{before.text_difference(restored, name)}",
            state=_UNCHANGED,
            todo=f"Mend {plan.migration.down.path.name}.",
        )
    tables = differing_tables(contents, _contents(connection))
    if tables:
        raise RehearsalFailed(
            f"The rollback doesn't restore the rows: {'; '.join(tables[:5])}",
            state=_UNCHANGED,
            todo=f"Mend {plan.migration.down.path.name}.",
        )
    return ran


@contextmanager
def _counting_on(connection: Connection, script: Script) -> Iterator[None]:
    """Refuse a script that sets a sequence back: the next order would get a number twice."""
    before = read_positions(connection, project_schemas(connection))
    yield
    back = turned_back(before, read_positions(connection, project_schemas(connection)))
    if back:
        raise RehearsalFailed(
            f"{script.path.parent.name}/{script.path.name} sets sequences back: {', '.join(back)}.",
            state=_UNCHANGED,
            todo="Let them go on counting; the numbers after the last one are still free.",
        )


def _contents(connection: Connection) -> Mapping[str, Contents]:
    return read_all_contents(connection, read_tables(connection, project_schemas(connection)))


def _changed_tables(
    connection: Connection, tables: tuple[Table, ...], contents: Mapping[str, Contents]
) -> tuple[str, ...]:
    """Existing tables whose rows differ; a new column alone is no change of a row."""
    now = {table.qualified: table for table in read_tables(connection, project_schemas(connection))}
    return tuple(
        table.qualified
        for table in tables
        if table.qualified not in now
        or not set(table.columns) <= set(now[table.qualified].columns)
        or read_contents(connection, table, table.columns) != contents[table.qualified]
    )
