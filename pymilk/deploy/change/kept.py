"""What the ledger keeps of a proof, wherever an event tells of it."""

from dataclasses import asdict

from pymilk.database.manifest import Backup
from pymilk.deploy.basis.evidence import Rehearsed
from pymilk.deploy.change.strong_locks import needed_by


def backup_facts(backup: Backup) -> dict[str, object]:
    """What the ledger keeps of a backup."""
    return {
        "folder": backup.folder.name,
        "taken_at": backup.taken_at.isoformat(),
        "bytes": backup.bytes,
        "tables": len(backup.contents),
        "rows": backup.rows,
    }


def rehearsal_facts(rehearsed: Rehearsed) -> dict[str, object]:
    """What the ledger keeps of a rehearsal."""
    down_locks = needed_by(rehearsed.down)
    return {
        "before": rehearsed.before.fingerprint,
        "after": rehearsed.after.fingerprint,
        "up_seconds": rehearsed.up_seconds,
        "verify_seconds": rehearsed.verify_seconds,
        "down_seconds": rehearsed.down.seconds if rehearsed.down else None,
        "locks": {table: asdict(held) for table, held in rehearsed.up.locked.items()},
        "strong_lock_seconds": rehearsed.up.strong_lock_seconds,
        "changed_tables": rehearsed.changed_tables,
        "reshaped": rehearsed.reshaped,
        "used": asdict(rehearsed.used),
        "not_undone": rehearsed.not_undone,
        "unread": asdict(rehearsed.unread),
        "down_locks": asdict(down_locks) if down_locks else None,
        "where": f"Postgres {rehearsed.major}, {rehearsed.where}",
    }
