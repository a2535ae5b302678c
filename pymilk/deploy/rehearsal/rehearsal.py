"""Step 4: the whole deploy and its rollback, on the restored copy of the live data.

Up, verify, down, compare, up, use, down with that in place, compare, up. So the schema and every
row are proven to come back when nothing has happened in between, and when much has.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from pymilk.database.catalog import Catalog, describe_difference, project_schemas, read_catalog
from pymilk.database.connection import Connection, connect, first_line
from pymilk.database.contents import (
    Contents,
    Table,
    differing_tables,
    read_all_contents,
    read_tables,
)
from pymilk.database.history import prepare_history, read_versions
from pymilk.database.ledger import Event, Kind, prepare_ledger, record
from pymilk.database.platform import KEYS_ALONE, services_in
from pymilk.database.surroundings import Surroundings, read_surroundings
from pymilk.deploy.basis.evidence import Evidence, Lost, Rehearsed, ScriptRun, Used
from pymilk.deploy.basis.plan import Bench, Plan
from pymilk.deploy.change.kept import rehearsal_facts
from pymilk.deploy.change.rollback import RolledBack
from pymilk.deploy.change.script import NOT_NOW, ScriptFailed
from pymilk.deploy.rehearsal.failed import UNCHANGED, RehearsalFailed
from pymilk.deploy.rehearsal.not_undone import not_undone, refuse_other_around
from pymilk.deploy.rehearsal.observe import followed_by
from pymilk.deploy.rehearsal.on_the_copy import (
    Up,
    down_alone,
    down_as_at_night,
    up_alone,
    up_as_deploy,
)
from pymilk.deploy.rehearsal.steps_on_the_copy import begun_on
from pymilk.deploy.rehearsal.use import BadWorkload, use
from pymilk.project.migrations import Migration, Script


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
                {
                    **rehearsal_facts(rehearsed),
                    "statements": [asdict(one) for one in rehearsed.up.statements],
                },
                version=plan.migration.version,
                name=plan.migration.name,
                checksum=plan.migration.up.checksum,
                run=plan.run,
            ),
        )
    return replace(evidence, rehearsal=rehearsed)


def run_alone(plan: Plan, bench: Bench, evidence: Evidence) -> Evidence:
    """The same on a backup that somebody named: there is no ledger to write to.

    Raises:
        RehearsalFailed: Something did not hold.
        ScriptFailed: A script of the migration failed.
    """
    return replace(evidence, rehearsal=rehearse(plan, bench))


def rehearse(plan: Plan, bench: Bench) -> Rehearsed:
    """Rehearse on what is on the bench; it stays there, deployed and used.

    Raises:
        RehearsalFailed: Something did not hold.
        ScriptFailed: A script of the migration failed.
    """
    with connect(bench.owner_url, purpose="rehearsal") as connection:
        try:
            return _rehearse(connection, plan, bench)
        except (ScriptFailed, BadWorkload) as problem:
            problem.state = UNCHANGED
            if any(services_in(script.text) for script in plan.migration.scripts):
                problem.todo += f" If it is that: {KEYS_ALONE}. A script has to hold without it."
            raise
        except NOT_NOW as error:
            # Nobody else is on the copy: on the live database it would be tried again for ever.
            raise RehearsalFailed(
                f"A script raises what says 'try again': {first_line(error)}",
                state=UNCHANGED,
                todo="Raise another SQLSTATE: 40001, 40P01 and 55P03 are Postgres's own.",
            ) from error


@dataclass(frozen=True)
class _Start:
    """The copy before the migration.

    Attributes:
        schema: Its schema.
        tables: Its tables.
        contents: What they hold.
        around: What stands around the schema.
    """

    schema: Catalog
    tables: tuple[Table, ...]
    contents: Mapping[str, Contents]
    around: Surroundings


def _read_start(connection: Connection) -> _Start:
    tables = read_tables(connection, project_schemas(connection))
    return _Start(
        read_catalog(connection),
        tables,
        read_all_contents(connection, tables),
        read_surroundings(connection),
    )


def _rehearse(connection: Connection, plan: Plan, bench: Bench) -> Rehearsed:
    earlier, down = _earlier(connection, plan), plan.migration.down
    begun = begun_on(connection, plan.migration) if plan.migration.up.in_steps else None
    start = _read_start(connection)
    first = up_alone if down else up_as_deploy
    up = again = first(connection, bench, plan, begun)
    after, changed = read_catalog(connection), _changed_tables(connection, start)
    schema, back, made = start.schema, None, read_surroundings(connection)
    unknown: tuple[str, ...] = ()
    if down is not None:
        back = down_alone(connection, down, begun.schema if begun else start.schema)
        if begun is None:
            _refuse_other_rows(down, differing_tables(start.contents, _contents(connection)))
            unknown = not_undone(plan.migration, start.around, made, read_surroundings(connection))
        else:  # it goes back further than to where the backup was taken
            start = _read_start(connection)
        again = up_as_deploy(connection, bench, plan)
        _refuse_other_schema(after, read_catalog(connection))
        refuse_other_around(made, read_surroundings(connection))
    used = use(
        connection, plan, earlier, after, up.weighing.unread.readable(plan.project.invariants)
    )
    if down is not None and used.tables:
        undone = _undo_used(connection, plan, bench, start, again)
        used = replace(undone, scripts=used.scripts, seconds=used.seconds, tables=used.tables)
        _refuse_other_schema(after, read_catalog(connection))
    return Rehearsed(
        label=plan.migration.label,
        before=schema,
        after=after,
        up=_longest(up, up if begun else again, changed),
        verify_seconds=up.verify_seconds,
        down=back,
        changed_tables=changed,
        used=used,
        where=bench.kind,
        major=bench.major,
        canary_tables=up.looked_at,
        weighed_tables=up.weighing.tables | again.weighing.tables,
        not_undone=unknown,
        unread=up.weighing.unread,
    )


def _longest(up: Up, again: Up, changed: Iterable[str]) -> ScriptRun:
    """Of two goes the one that would have kept people waiting for longer."""
    runs = [followed_by(ran.run, _until_commit(ran, changed)) for ran in (up, again)]
    return max(runs, key=lambda run: run.strong_lock_seconds)


def _until_commit(ran: Up, changed: Iterable[str]) -> float:
    """Seconds for which a deploy keeps its locks when its script has run; none in steps.

    Where it writes rows that figures and invariants look at, these are compared under the locks;
    where it changes rows of tables that were there before, they are first read under them, too.
    """
    weighing, seconds = ran.weighing, ran.further_seconds
    if seconds is None:
        return 0.0
    if ran.written & weighing.tables:
        seconds += weighing.after_seconds
    if weighing.tables.intersection(changed):
        seconds += weighing.before_seconds
    return seconds


def _earlier(connection: Connection, plan: Plan) -> tuple[Migration, ...]:
    """What is deployed on the copy; it has to be everything before this migration, and no more.

    Raises:
        RehearsalFailed: It isn't: the backup is of another time.
    """
    prepare_history(connection)
    prepare_ledger(connection)
    applied = set(read_versions(connection))
    earlier = tuple(
        migration
        for migration in plan.project.migrations
        if int(migration.version) < int(plan.migration.version)
    )
    other = applied ^ {migration.version for migration in earlier}
    if other:
        named = ", ".join(sorted(other, key=int))
        raise RehearsalFailed(
            f"On the copy {plan.migration.label} isn't next: {named} is applied there and should"
            " not be, or should be and isn't.",
            state=UNCHANGED,
            todo="Rehearse on a backup of the state that it will be deployed on.",
        )
    return earlier


def _undo_used(
    connection: Connection, plan: Plan, bench: Bench, start: _Start, deployed: Up
) -> Used:
    """Roll back with everything in place that people did, and deploy again; what became of it."""
    down = plan.migration.down
    if down is None:
        raise AssertionError("asked for only where there is a rollback")
    old, everything = _in_old_columns(connection, start), _contents(connection)
    undone = down_as_at_night(bench, plan)
    lost = _lost(undone)
    # The deploy's own rows go with it, and are nobody's loss.
    told = {one.table for one in lost if one.kind == "changed"} | set(deployed.made)
    now = _in_old_columns(connection, start)
    _refuse_other_rows(down, differing_tables(without(old, told), without(now, told)))
    again = up_as_deploy(connection, bench, plan)
    # What the migration itself writes to, it writes to again; the rest is as people left it.
    told = {one.table for one in lost if one.kind == "changed"} | again.wrote | set(again.left)
    back = _contents(connection)
    differing = differing_tables(without(everything, told), without(back, told))
    if differing:
        raise RehearsalFailed(
            "Used, rolled back and deployed again, the rows aren't what they were:"
            f" {'; '.join(differing[:5])}",
            state=UNCHANGED,
            todo=f"Mend {down.path.name}, or write supabase/give_back/{down.path.name}: it sets"
            " right what has to follow from rows that come back.",
        )
    rewritten = tuple(sorted(name for name in told if everything.get(name) != back.get(name)))
    return Used(down_seconds=undone.seconds, lost=lost, left=again.left, rewritten=rewritten)


def _lost(undone: RolledBack) -> tuple[Lost, ...]:
    return tuple(
        Lost(
            loss.kind,
            loss.table.qualified,
            loss.columns if loss.kind == "column" else (),
            loss.rows,
        )
        for loss in undone.kept
    )


def without(contents: Mapping[str, Contents], tables: set[str]) -> Mapping[str, Contents]:
    """The contents of the other tables."""
    return {name: found for name, found in contents.items() if name not in tables}


def _refuse_other_rows(down: Script, differing: Sequence[str]) -> None:
    if differing:
        raise RehearsalFailed(
            f"The rollback doesn't restore the rows: {'; '.join(differing[:5])}",
            state=UNCHANGED,
            todo=f"Mend {down.path.name}.",
        )


def _refuse_other_schema(after: Catalog, again: Catalog) -> None:
    if after.difference(again):
        raise RehearsalFailed(
            "Deployed a second time, the schema isn't the same as the first time: "
            + describe_difference(after, again),
            state=UNCHANGED,
            todo="Make the migration's result independent of what was there before.",
        )


def _contents(connection: Connection) -> Mapping[str, Contents]:
    return read_all_contents(connection, read_tables(connection, project_schemas(connection)))


def _in_old_columns(connection: Connection, start: _Start) -> Mapping[str, Contents]:
    """What the tables of the start hold now, in the columns that they had."""
    now = {table.qualified: table for table in read_tables(connection, project_schemas(connection))}
    return read_all_contents(
        connection,
        (
            replace(
                table,
                columns=tuple(
                    column for column in table.columns if column in now[table.qualified].columns
                ),
            )
            for table in start.tables
            if table.qualified in now
        ),
    )


def _changed_tables(connection: Connection, start: _Start) -> tuple[str, ...]:
    """Existing tables whose rows differ; a new column alone is no change of a row."""
    now = {table.qualified: table for table in read_tables(connection, project_schemas(connection))}
    whole = [
        table
        for table in start.tables
        if table.qualified in now and set(table.columns) <= set(now[table.qualified].columns)
    ]
    found = read_all_contents(connection, whole)
    return tuple(
        table.qualified
        for table in start.tables
        if found.get(table.qualified) != start.contents[table.qualified]
    )
