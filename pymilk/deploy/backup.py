"""Step 2: our own backup, taken now, of what is about to be changed."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pymilk.database.connection import connect
from pymilk.database.dump import remove_unfinished, take_backup
from pymilk.database.ledger import Event, Kind, record
from pymilk.database.manifest import Backup, read_backup
from pymilk.deploy.evidence import BackupTaken, Evidence
from pymilk.deploy.plan import Bench, Plan
from pymilk.problem import Problem


def run(plan: Plan, _bench: Bench, evidence: Evidence) -> Evidence:
    """Take a backup.

    Raises:
        Problem: It could not be taken; nothing was changed.
    """
    plan.project.make_workspace()
    remove_unfinished(plan.backups)
    previous = newest_backup(plan.backups)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    backup = take_backup(plan.target.url, plan.programs, plan.backups / stamp)
    with connect(plan.target.url, purpose="ledger") as connection:
        record(connection, Event(Kind.BACKUP, backup_facts(backup), run=plan.run))
    taken = BackupTaken(backup, previous.taken_at if previous else None)
    return replace(evidence, backup=taken)


def newest_backup(folder: Path) -> Backup | None:
    """The newest backup of a target that is whole; unfinished and altered ones don't count."""
    for candidate in sorted(folder.glob("*Z"), reverse=True):
        try:
            return read_backup(candidate)
        except Problem:
            continue
    return None


def backup_facts(backup: Backup) -> dict[str, object]:
    """What the ledger keeps of a backup."""
    return {
        "folder": backup.folder.name,
        "taken_at": backup.taken_at.isoformat(),
        "bytes": backup.bytes,
        "tables": len(backup.contents),
        "rows": sum(contents.rows for contents in backup.contents.values()),
    }
