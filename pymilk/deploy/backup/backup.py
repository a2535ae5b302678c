"""Step 2: our own backup, taken now, of what is about to be changed. Also a command of its own."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from psycopg import DatabaseError

from pymilk.database.connection import Target, connect, first_line
from pymilk.database.critical import in_public
from pymilk.database.dump import take_backup
from pymilk.database.ledger import Event, Kind, ledger_exists, prepare_ledger, record
from pymilk.database.manifest import Backup
from pymilk.database.meter import UNWATCHED, Meter
from pymilk.database.programs import Programs
from pymilk.deploy.backup.shelf import new_folder, newest_backup, shelf_of, tidy
from pymilk.deploy.basis.evidence import BackupTaken, Evidence
from pymilk.deploy.basis.plan import Bench, Plan
from pymilk.deploy.change.kept import backup_facts
from pymilk.problem import Problem
from pymilk.project.project import Project


@dataclass(frozen=True)
class Taken:
    """A backup that a person asked for.

    Attributes:
        backup: What was taken.
        previous: When the one before it was taken.
        removed: Older backups that the policy let go.
        missing: Critical tables that the database doesn't have.
        unrecorded: Why the ledger doesn't know of it; empty when it does.
    """

    backup: Backup
    previous: datetime | None
    removed: tuple[str, ...]
    missing: tuple[str, ...]
    unrecorded: str


def run(plan: Plan, _bench: Bench, evidence: Evidence) -> Evidence:
    """Take a backup.

    Raises:
        Problem: It could not be taken; nothing was changed.
    """
    taken = _take(plan.project, plan.target, plan.programs)
    tidy(plan.backups, plan.policy, datetime.now(UTC))
    with connect(plan.target.url, purpose="ledger") as connection:
        record(connection, Event(Kind.BACKUP, backup_facts(taken.backup), run=plan.run))
    return replace(evidence, backup=taken)


def back_up(
    project: Project,
    target: Target,
    programs: Programs,
    *,
    critical: tuple[str, ...] = (),
    meter: Meter = UNWATCHED,
) -> Taken:
    """Take a backup by itself, of any database; the ledger hears of it where there is one.

    Raises:
        Problem: It could not be taken; nothing was changed.
    """
    taken = _take(project, target, programs, critical, meter)
    return Taken(
        taken.backup,
        taken.previous,
        tidy(shelf_of(project, target), project.policy(target.preset), datetime.now(UTC)),
        tuple(name for name in map(in_public, critical) if name not in taken.backup.critical),
        record_if_adopted(target, Event(Kind.BACKUP, backup_facts(taken.backup))),
    )


def record_if_adopted(target: Target, event: Event) -> str:
    """Write an event into the target's ledger; gives why it couldn't be, or nothing.

    What the event tells of is done, and stays done without it.
    """
    try:
        with connect(target.url, purpose="ledger") as connection:
            if not ledger_exists(connection):
                return "the database has none yet: pymilk adopt"
            prepare_ledger(connection)
            record(connection, event)
    except (Problem, DatabaseError) as error:
        return error.happened if isinstance(error, Problem) else first_line(error)
    return ""


def _take(
    project: Project,
    target: Target,
    programs: Programs,
    critical: tuple[str, ...] = (),
    meter: Meter = UNWATCHED,
) -> BackupTaken:
    project.make_workspace()
    shelf = shelf_of(project, target)
    previous = newest_backup(shelf)
    backup = take_backup(target.url, programs, new_folder(shelf), critical=critical, meter=meter)
    return BackupTaken(backup, previous.taken_at if previous else None)
