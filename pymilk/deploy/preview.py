"""What a deploy would do now: looked at, nothing done, nothing proven."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pymilk.database.connection import Connection, connect
from pymilk.database.ledger import Entry, Kind, latest, read_entries, whole
from pymilk.database.programs import find_programs
from pymilk.deploy.basis.evidence import Blocked, Check, StatementRun, Verdict
from pymilk.deploy.basis.plan import Backend, Plan
from pymilk.deploy.survey.preflight import survey

STEPS = ("preflight", "backup", "restore test", "rehearsal", "apply", "after")


@dataclass(frozen=True)
class LastRehearsal:
    """What the newest rehearsal of this very text found.

    Attributes:
        at: When.
        up_seconds: How long the migration took.
        strong_lock_seconds: For how long it kept readers or writers waiting.
        statements: What each of its statements did; none where an older pymilk rehearsed it.
    """

    at: datetime
    up_seconds: float
    strong_lock_seconds: float
    statements: tuple[StatementRun, ...]


@dataclass(frozen=True)
class Preview:
    """What a deploy would do.

    Attributes:
        migration: Its stem.
        label: What a person calls it.
        target: Where to.
        policy: Under which rules.
        files: What it consists of, from the project's folder.
        checks: What would stop it now, and what wouldn't.
        steps: What it would go through, in order.
        copy: On what kind of server it would be rehearsed.
        backups: Where its backup would lie.
        backup_at: When the newest backup was taken; none where the ledger knows of none.
        rehearsed: What its last rehearsal found, if it was rehearsed as it is now.
        later: What stays pending after it.
        misnamed: SQL files among the migrations that are none, because of their names.
    """

    migration: str
    label: str
    target: str
    policy: str
    files: tuple[str, ...]
    checks: tuple[Check, ...]
    steps: tuple[str, ...]
    copy: str
    backups: Path
    backup_at: datetime | None
    rehearsed: LastRehearsal | None
    later: tuple[str, ...]
    misnamed: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether nothing would stop it now."""
        return all(check.verdict is not Verdict.FAILED for check in self.checks)


def preview(plan: Plan, later: tuple[str, ...]) -> Preview:
    """Look at everything that a deploy of this plan would begin with.

    Args:
        plan: The deploy.
        later: The labels of what stays pending after it.

    Raises:
        Problem: The database can't be reached.
    """
    major = find_programs().major if plan.copy.backend is Backend.EMBEDDED else None
    with connect(plan.target.url, purpose="plan") as connection:
        entries = read_entries(connection)
        rehearsed = _rehearsed(connection, plan, entries)
    backup = latest(entries, Kind.BACKUP)
    return Preview(
        migration=plan.migration.stem,
        label=plan.migration.label,
        target=plan.target.label,
        policy=str(plan.target.preset),
        files=tuple(
            script.path.relative_to(plan.project.root).as_posix()
            for script in plan.migration.scripts
        ),
        checks=survey(plan, major).checks,
        steps=STEPS,
        copy=str(plan.copy.backend),
        backups=plan.backups,
        backup_at=backup.happened_at if backup else None,
        rehearsed=rehearsed,
        later=later,
        misnamed=plan.project.misnamed,
    )


def _rehearsed(
    connection: Connection, plan: Plan, entries: tuple[Entry, ...]
) -> LastRehearsal | None:
    entry = latest(entries, Kind.REHEARSAL, version=plan.migration.version)
    if entry is None or entry.checksum != plan.migration.up.checksum:
        return None
    found = whole(connection, entry).evidence
    return LastRehearsal(
        entry.happened_at,
        float(found.get("up_seconds") or 0),
        float(found.get("strong_lock_seconds") or 0),
        tuple(
            StatementRun(**{**one, "blocks": Blocked(one["blocks"])})
            for one in found.get("statements", ())
        ),
    )
