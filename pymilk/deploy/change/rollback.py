"""Take a migration back: quick, because it may be night, and careful, because it is live.

No backup, rehearsal, window or soak; its own proof instead, inside its own transaction: the schema
is the one recorded before the deploy, every row that was there just before is there unchanged just
after or is kept in the archive, and nobody owes more or less than before.

The transaction is repeatable read, so that what customers do meanwhile can't be mistaken for
something that the rollback did; every lock is taken before its snapshot is, so that no row can slip
in unseen, and none is asked for afterwards.
"""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from psycopg import sql

from pymilk.database.catalog import Catalog, project_schemas
from pymilk.database.connection import Connection
from pymilk.database.contents import (
    Table,
    read_positions,
    read_tables,
    turned_back,
)
from pymilk.database.history import forget_applied, lock_history, read_versions
from pymilk.database.ledger import Event, Kind, record
from pymilk.database.recorded_catalog import read_catalog_beside, record_catalogs
from pymilk.database.row_types import changed_row_types
from pymilk.database.surroundings import QUERY as AROUND
from pymilk.database.surroundings import surroundings_of
from pymilk.deploy.basis.evidence import State
from pymilk.deploy.basis.lock import lock_this_transaction, only_deploy
from pymilk.deploy.basis.made import untouched
from pymilk.deploy.basis.plan import Plan
from pymilk.deploy.change.archive import (
    CannotBeKept,
    Loss,
    find_losses,
    keep,
    keep_rows,
)
from pymilk.deploy.change.around import refuse_left_behind, refuse_other_schema
from pymilk.deploy.change.comparable import CannotBeCompared, read_after, read_before
from pymilk.deploy.change.figures import differing_figures
from pymilk.deploy.change.one_go import in_one_go
from pymilk.deploy.change.recorded import (
    Recorded,
    RowsWouldBeLost,
    api_functions,
    read_recorded,
)
from pymilk.deploy.change.row_proof import TouchedRows, changed_rows, watch
from pymilk.deploy.change.script import ScriptFailed, read_settings
from pymilk.deploy.change.strong_locks import locking_all, take_all
from pymilk.deploy.change.transaction import all_or_nothing, standing
from pymilk.deploy.change.writable import refuse_read_only
from pymilk.problem import Refused, TryAgainLater
from pymilk.project.migrations import Migration, Script

_MEND = (
    " This is the script as rehearsed with the deploy; when the file is mended:"
    " pymilk rollback {} --mended."
)
_ROLLED_BACK = "Nothing was changed: the transaction was rolled back."


@dataclass(frozen=True)
class RolledBack:
    """A finished rollback.

    Attributes:
        seconds: How long the transaction was open.
        attempts: Which attempt got its locks.
        objects: How many objects of the schema are now as they were before the deploy.
        state: The project's figures, the same before and after.
        kept: What was put into the archive.
        drift: Objects that were changed by hand elsewhere and were left as they are.
        functions_gone: Functions that the app can't call any more.
        reshaped: Tables and views whose columns are others again.
        uncompared: Why figures that can be read on one side only were not compared.
    """

    seconds: float
    attempts: int
    objects: int
    state: State
    kept: tuple[Loss, ...]
    drift: tuple[str, ...]
    functions_gone: tuple[str, ...]
    reshaped: tuple[str, ...]
    uncompared: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Attempt:
    """What one go at the rollback is to do; the next may know more of what can be compared.

    Attributes:
        plan: Which migration, where.
        down: The script that undoes it.
        recorded: What its deploy recorded.
        archive: Whether rows that would go may be moved into the archive.
        now: The schema as it was before anything was locked.
        expected: The schema to arrive at; both are in the ledger already.
        drift: What was changed by hand elsewhere and is left as it is.
        compared: Tables whose rows are compared, one by one.
        locking: Takes every lock that is needed; none where none is.
        uncompared: Queries whose figures are not compared, by their short paths → why not.
    """

    plan: Plan
    down: Script
    recorded: Recorded
    archive: bool
    now: Catalog
    expected: Catalog
    drift: tuple[str, ...]
    compared: tuple[Table, ...] = ()
    locking: sql.Composed | None = None
    uncompared: Mapping[str, str] = field(default_factory=dict)


def roll_back(plan: Plan, *, archive: bool, mended: bool = False) -> RolledBack:
    """Undo one deployed migration, with the script that was rehearsed when it was deployed.

    Args:
        plan: Which one, where.
        archive: Whether rows that would go may be moved into the archive instead.
        mended: Whether to use the project's file as it is now instead.

    Raises:
        Refused: It is not the newest, rows would be lost, the schema drifted, the script doesn't
            restore what was recorded, or the database is read-only.
        ScriptFailed: A statement failed.
        TryAgainLater: The locks were not to be had, or another deploy is running.
    """
    purpose = f"rollback {plan.migration.argument}"
    with only_deploy(plan.target, purpose, plan.policy.wait_for_other_deploy_seconds) as guard:
        refuse_read_only(guard, plan.migration)
        recorded = read_recorded(guard, plan.migration)
        _refuse_older(guard, plan.migration)
        if mended:
            # What this script does to the deploy's own rows, and locks, no rehearsal has shown.
            recorded = replace(recorded, made={}, locks=None)
        down = _script(plan, recorded, mended=mended)
        try:
            return _attempts(guard, plan, down, recorded, archive=archive)
        except (ScriptFailed, Refused, CannotBeKept) as problem:
            problem.state = f"{_ROLLED_BACK} {standing(plan.target, plan.migration.version)}"
            if isinstance(problem, ScriptFailed):
                problem.todo = _todo(problem, down, plan.migration)
            raise


def _todo(problem: ScriptFailed, down: Script, migration: Migration) -> str:
    """What to do about the script that failed, which is not always the one that undoes it."""
    if problem.script is None or problem.script is down:
        return problem.todo + _MEND.format(migration.argument)
    query = problem.script.short_path
    return f"Mend {query}, or put it aside: it is read before a rollback and after it."


def _attempts(
    guard: Connection, plan: Plan, down: Script, recorded: Recorded, *, archive: bool
) -> RolledBack:
    """Go at it, again where more has to be compared than was known."""
    # What takes long to plan, to read or to send is done while nobody waits for it.
    now = read_catalog_beside(guard, recorded.after)
    expected, drift = _expected(plan, recorded, now)
    record_catalogs(guard, [now, expected])
    attempt = _Attempt(plan, down, recorded, archive, now, expected, drift)
    while True:
        _refuse_losses(attempt, _losses(guard, attempt)[0])
        attempt = replace(attempt, locking=_locking(guard, attempt))
        try:
            return _in_a_transaction(guard, attempt)
        except TouchedRows as signal:
            tables = _named(guard, {*signal.tables, *(t.qualified for t in attempt.compared)})
            attempt = replace(attempt, compared=tables)
        except CannotBeCompared as signal:
            attempt = replace(attempt, uncompared={**attempt.uncompared, signal.query: signal.why})


def _refuse_older(connection: Connection, migration: Migration) -> None:
    applied = read_versions(connection)
    newer = [found for found in applied if int(found) > int(migration.version)]
    if newer:
        raise Refused(
            f"{migration.label} is not the newest: {', '.join(reversed(newer))} came after it.",
            state="Nothing was changed.",
            todo=f"Roll back the newest first: pymilk rollback {newer[-1]}",
        )


def _script(plan: Plan, recorded: Recorded, *, mended: bool) -> Script:
    """The rollback to run: what was rehearsed, unless the file was mended since."""
    migration = plan.migration
    if recorded.script is not None and not mended:
        path = plan.project.root / "supabase" / "rollbacks" / f"{migration.stem}.sql"
        return Script(path, recorded.script)
    if migration.down is not None:
        return migration.down
    why = f" ({migration.irreversible})." if migration.irreversible else "."
    raise Refused(
        f"{migration.label} has no rollback: supabase/rollbacks/{migration.stem}.sql is missing"
        + why,
        state="Nothing was changed.",
        todo="Write the script that undoes it; the rehearsal proves it.",
    )


def _locking(connection: Connection, attempt: _Attempt) -> sql.Composed | None:
    """What goes or is looked at, and what the script was seen to lock."""
    watched = (*attempt.recorded.vanishing.to_lock(), *attempt.compared)
    tables = read_tables(connection, project_schemas(connection))
    return locking_all(connection, attempt.recorded.locks, watched, tables)


def _named(connection: Connection, names: set[str]) -> tuple[Table, ...]:
    tables = read_tables(connection, project_schemas(connection))
    return tuple(table for table in tables if table.qualified in names)


def _in_a_transaction(guard: Connection, attempt: _Attempt) -> RolledBack:
    def work(connection: Connection, token: uuid.UUID) -> RolledBack:
        return _undo(connection, attempt, token)

    plan = attempt.plan
    done = all_or_nothing(guard, plan.target, plan.policy, work)
    # What can be told of two schemas nobody has to wait for: the locks are gone.
    reshaped = changed_row_types(attempt.now, attempt.expected)
    return replace(done.result, seconds=done.seconds, attempts=done.attempts, reshaped=reshaped)


def _undo(connection: Connection, attempt: _Attempt, token: uuid.UUID) -> RolledBack:
    plan, version, started = attempt.plan, attempt.plan.migration.version, time.monotonic()
    connection.execute("set transaction isolation level repeatable read")
    lock_history(connection)
    take_all(connection, attempt.locking, plan.policy.lock_timeout_ms)
    # The snapshot begins here: from now on only this transaction changes what it sees.
    lock_this_transaction(connection)
    _refuse_moved_history(connection, version)
    state = read_before(connection, plan.project.state, attempt.uncompared)
    losses, own = _losses(connection, attempt)
    _refuse_losses(attempt, losses)
    keep(connection, version, losses)
    before = watch(connection, tuple(table.qualified for table in attempt.compared))
    positions = read_positions(connection, project_schemas(connection))
    settings = read_settings(connection)
    with in_one_go(connection, settings) as go:
        stood = go.query(AROUND)
        go.script(attempt.down)
        stands = go.query(AROUND)
    counted = _refuse_turned_back(connection, attempt.down, positions)

    changed = tuple(
        found for found in changed_rows(connection, before) if found.loss.table.qualified not in own
    )
    _refuse_losses(attempt, tuple(found.loss for found in changed))
    for found in changed:
        keep_rows(connection, version, found.loss, found.query)
    # Also sees what somebody has changed since the schema was read.
    restored = read_catalog_beside(connection, attempt.expected)
    refuse_other_schema(attempt.expected, restored)
    refuse_left_behind(attempt.recorded.around, surroundings_of(stood), surroundings_of(stands))
    left = read_after(connection, plan.project.state, attempt.uncompared)
    moved = differing_figures(state, left)
    if moved:
        raise Refused(
            f"The rollback changes {len(moved)} figure(s): {'; '.join(moved[:5])}",
            todo=f"Mend {attempt.down.path.name}: no rollback may change what anybody owes.",
        )
    kept = (*losses, *(found.loss for found in changed))
    facts = {
        "kept": [str(loss) for loss in kept],
        # Where they are made again, numbers that people have seen aren't given a second time.
        "positions": counted,
        "drift": attempt.drift,
        "overrides": dict(plan.overrides),
        "because": plan.because,
        "state": state,
        "uncompared": [*attempt.uncompared.values()],
        # All but the commit, which the row is part of.
        "seconds": round(time.monotonic() - started, 3),
    }
    event = Event(
        Kind.ROLLBACK,
        facts,
        version=version,
        name=plan.migration.name,
        revision=plan.revision.commit,
        checksum=attempt.down.checksum,
        before=attempt.now,
        after=restored,
        run=plan.run,
    )
    with connection.pipeline():
        connection.execute("notify pgrst, 'reload schema'")
        forget_applied(connection, version)
        record(connection, event, token)
    gone = api_functions(attempt.now.difference(restored).vanished)
    return RolledBack(
        seconds=0.0,
        attempts=0,
        objects=len(restored.objects),
        state=state,
        kept=kept,
        drift=attempt.drift,
        functions_gone=gone,
        reshaped=(),
        uncompared=tuple(attempt.uncompared.values()),
    )


def _losses(connection: Connection, attempt: _Attempt) -> tuple[tuple[Loss, ...], frozenset[str]]:
    """The rows that would go; and the tables that hold just what the deploy put there itself.

    What nobody touched since is no loss.
    """
    recorded = attempt.recorded
    concerned = (*recorded.vanishing.to_lock(), *attempt.compared)
    own = untouched(connection, recorded.made, concerned)
    found = find_losses(connection, recorded.vanishing)
    return tuple(loss for loss in found if loss.table.qualified not in own), own


def _refuse_moved_history(connection: Connection, version: str) -> None:
    applied = read_versions(connection)
    if not applied or applied[-1] != version:
        raise TryAgainLater(
            "Somebody else applied or removed a migration meanwhile.",
            state=_ROLLED_BACK,
            todo="Look with 'pymilk status', then run it again.",
        )


def _expected(plan: Plan, recorded: Recorded, now: Catalog) -> tuple[Catalog, tuple[str, ...]]:
    """The schema to arrive at: the recorded one, and drift elsewhere left as it is."""
    drift = recorded.after.difference(now)
    if not drift:
        return recorded.before, ()
    told = "; ".join(drift.sentences())
    if drift.names & recorded.own:
        raise Refused(
            f"What {plan.migration.label} made was changed by hand since: {told}",
            todo="Take that change back first; the recorded definitions are in pymilk.catalogs.",
        )
    if "drift" not in plan.overrides:
        raise Refused(
            f"The schema was changed by hand elsewhere since the deploy: {told}",
            todo="If that may stay as it is: --override drift='your reason'.",
        )
    objects = dict(recorded.before.objects)
    for name in drift.names:
        objects.pop(name, None)
        if name in now.objects:
            objects[name] = now.objects[name]
    return Catalog(objects), tuple(sorted(drift.names))


def _refuse_losses(attempt: _Attempt, losses: tuple[Loss, ...]) -> None:
    if losses and not attempt.archive:
        argument = attempt.plan.migration.argument
        raise RowsWouldBeLost(
            "Rows would be lost:" + "".join(f"\n    {loss}" for loss in losses),
            todo=f"Keep them in the archive: pymilk rollback {argument} --archive. The next deploy"
            " gives back what it can put in its place again.",
        )


def _refuse_turned_back(
    connection: Connection, down: Script, before: Mapping[str, int | None]
) -> Mapping[str, int]:
    """How far the sequences that have gone had counted."""
    after = read_positions(connection, project_schemas(connection))
    back = turned_back(before, after)
    for sequence, position in back.items():
        # Some ways of setting a sequence outlive the transaction: put it where it was.
        connection.execute("select setval(%s, %s)", (sequence, position))
    if back:
        raise Refused(
            f"{down.path.name} sets sequences back, so that numbers would be given twice:"
            f" {', '.join(back)}.",
            todo="Mend the rollback script; then: pymilk rollback … --mended.",
        )
    return {
        sequence: position
        for sequence, position in before.items()
        if position is not None and sequence not in after
    }
