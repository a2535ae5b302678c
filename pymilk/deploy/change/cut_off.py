"""What became of a step that was begun and never ended, because its run was cut off."""

from pymilk.database.catalog import Catalog, read_catalog
from pymilk.database.connection import Connection
from pymilk.database.ledger import Outcome, read_recorded_catalog
from pymilk.deploy.basis.half import Half
from pymilk.deploy.basis.plan import Plan
from pymilk.deploy.change.left_behind import drop_left_behind, names
from pymilk.deploy.change.script import NOT_NOW
from pymilk.deploy.change.steps import StepCame, fingerprint, record_step, steps_of
from pymilk.problem import Problem, TryAgainLater
from pymilk.project.migrations import Migration
from pymilk.project.statements import Statement


def settle(connection: Connection, plan: Plan, half: Half) -> None:
    """Find out what became of a step that was begun and never ended, and record that.

    Whether it came through is told by the objects that it names. What somebody else has changed
    since is none of its doing: it isn't recorded, so that the checks find it as drift.

    Raises:
        Problem: Steps that have run aren't in the file any more as they ran.
        TryAgainLater: An index that is left of it can't be dropped now.
    """
    migration = plan.migration
    _refuse_edited(migration, half)
    if half.begun is None or half.begun.before is None:
        return
    number = half.done + 1
    statement = steps_of(migration.up)[number - 1]
    try:
        drop_left_behind(
            connection,
            statement,
            half.begun.evidence["invalid"],
            plan.policy.lock_patience_seconds,
        )
    except NOT_NOW as error:
        raise TryAgainLater(
            f"Step {number} of {migration.label} was cut off, and what is left of its index can't"
            " be dropped: somebody holds a lock on its table, or is still making it.",
            state=f"{migration.version} is {half}.",
            todo="Run it again when that session has ended.",
        ) from error
    before, now = read_recorded_catalog(connection, half.begun.before), read_catalog(connection)
    after = _with_changes_of(statement, before, now)
    if before.difference(after):
        record_step(connection, plan, StepCame(number, Outcome.DONE, after=after))
    else:
        record_step(connection, plan, StepCame(number, Outcome.FAILED))


def _refuse_edited(migration: Migration, half: Half) -> None:
    """What has run stays as it ran; what comes after it may be mended."""
    if half.checksum == migration.up.checksum:
        return
    if half.statements is not None:
        steps = steps_of(migration.up)[: len(half.statements)]
        if tuple(map(fingerprint, steps)) == half.statements:
            return
    raise Problem(
        f"{migration.label} is {half}, and steps that have run were edited in its file since.",
        state=f"{migration.version} is {half}.",
        todo=f"Put its first {half.done + (half.begun is not None)} step(s) back as they were"
        " (git checkout); those after them may be mended.",
    )


def _with_changes_of(statement: Statement, before: Catalog, now: Catalog) -> Catalog:
    """The schema before a statement, with those of the differences to now that it can have made."""
    objects = dict(before.objects)
    for name in before.difference(now).names:
        kind, _, rest = name.partition(" ")
        # An index statement makes or drops indexes; another one concerns what it names.
        if "index" in statement.words and kind != "index":
            continue
        if not any(names(statement, part) for part in rest.split()):
            continue
        objects.pop(name, None)
        if name in now.objects:
            objects[name] = now.objects[name]
    return Catalog(objects)
