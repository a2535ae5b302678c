"""What a rollback is going to do, shown before it is done: in which order, and what goes.

An older migration goes after those that came later, each in a transaction of its own that proves
itself. What is shown is what happens: whoever applies or removes another meanwhile stops it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pymilk.database.connection import Connection, Target, connect
from pymilk.database.history import read_versions
from pymilk.database.ledger import Kind
from pymilk.deploy.basis.made import untouched
from pymilk.deploy.basis.plan import Plan
from pymilk.deploy.change.archive import Loss, find_losses
from pymilk.deploy.change.attempt import noted
from pymilk.deploy.change.recorded import read_recorded
from pymilk.deploy.change.rollback import RolledBack, roll_back
from pymilk.deploy.change.writable import refuse_read_only
from pymilk.deploy.survey.app_calls import Calls, recent_calls
from pymilk.problem import Problem, Refused
from pymilk.project.migrations import Migration
from pymilk.project.project import Project


@dataclass(frozen=True)
class Undoing:
    """One migration that goes.

    Attributes:
        migration: Which one.
        functions: The functions that go with it.
        calls: What can be seen of the app calling them.
        losses: The rows that would be gone.
    """

    migration: Migration
    functions: tuple[str, ...]
    calls: Calls
    losses: tuple[Loss, ...]


def foresee(target: Target, project: Project, named: Migration) -> tuple[Undoing, ...]:
    """What has to go for `named` to go, the newest first; reads only.

    Raises:
        Refused: It isn't applied, something that came after it can't be rolled back, or the
            database is read-only.
    """
    with connect(target.url, purpose="rollback plan") as connection:
        refuse_read_only(connection, named)
        files = {migration.version: migration for migration in project.migrations}
        applied = read_versions(connection)
        later = [version for version in applied if int(version) > int(named.version)]
        unknown = [version for version in later if version not in files]
        if unknown:
            raise Refused(
                f"{named.label} can't be rolled back: {', '.join(unknown)} was applied after it and"
                " is not among the files here.",
                state="Nothing was changed.",
                todo="Fetch the newest files (git pull).",
            )
        order = (*(files[version] for version in reversed(later)), named)
        return tuple(_undoing(connection, migration) for migration in order)


def refuse_losses(undoings: tuple[Undoing, ...], named: Migration) -> None:
    """Stop before anything is done when rows would go that nobody said to keep.

    Raises:
        Refused: There are such.
    """
    losses = [loss for undoing in undoings for loss in undoing.losses]
    if losses:
        raise Refused(
            "Rows would be lost:" + "".join(f"\n    {loss}" for loss in losses),
            state="Nothing was changed.",
            todo=f"Keep them in the archive: pymilk rollback {named.argument} --archive. The next"
            " deploy gives back what it can put in its place again.",
        )


def roll_back_each(
    plans: tuple[Plan, ...], *, archive: bool, mended: bool
) -> Iterator[tuple[Plan, RolledBack]]:
    """Roll back one after the other, newest first; each is given as soon as it is done.

    Args:
        plans: In the order in which they go; the last is the one that was named.
        archive: Whether rows that would go may be moved into the archive instead.
        mended: Whether to use the named one's file as it is now.

    Raises:
        Problem: One was refused or failed; those before it are rolled back, and it says so.
    """
    done: list[str] = []
    for plan in plans:
        try:
            last = plan is plans[-1]
            with noted(plan, Kind.ROLLBACK):
                result = roll_back(plan, archive=archive, mended=mended and last)
        except Problem as problem:
            if done:
                problem.state += f" Rolled back before that, each whole: {', '.join(done)}."
            raise
        done.append(plan.migration.label)
        yield plan, result


def _undoing(connection: Connection, migration: Migration) -> Undoing:
    recorded = read_recorded(connection, migration)
    own = untouched(connection, recorded.made, recorded.vanishing.to_lock())
    losses = find_losses(connection, recorded.vanishing)
    return Undoing(
        migration,
        recorded.functions,
        recent_calls(connection, recorded.functions),
        tuple(loss for loss in losses if loss.table.qualified not in own),
    )
