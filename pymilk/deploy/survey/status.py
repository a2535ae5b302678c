"""Where every migration stands, from the history, the ledger and the files."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pymilk.database.connection import Connection
from pymilk.database.history import Applied, read_applied, read_history
from pymilk.database.ledger import Entry, Kind, Outcome, by_version, is_held, latest, read_entries
from pymilk.deploy.basis.half import half_of
from pymilk.deploy.basis.lock import other_deploy
from pymilk.deploy.basis.notes import open_notes, said
from pymilk.deploy.basis.soon import read_soon
from pymilk.project.migrations import Migration
from pymilk.project.project import Project


class Standing(StrEnum):
    """Where one migration stands."""

    APPLIED = "applied"
    EDITED = "applied, but the file was edited since"
    PENDING = "pending"
    HALF = "half applied; deploying it again goes on"
    HELD = "held: rolled back; naming it deploys it again"
    UNKNOWN = "applied, but no file here"


@dataclass(frozen=True)
class Row:
    """One migration's line.

    Attributes:
        version: Its version.
        name: Its name.
        standing: Where it stands.
        at: When it got there, where the ledger knows.
        person: Who brought it there.
        half: How far it has come, where it is no single transaction and not at its end.
    """

    version: str
    name: str
    standing: Standing
    at: datetime | None
    person: str | None
    half: str | None = None


@dataclass(frozen=True)
class Status:
    """Every migration, what runs at this moment, and the newest proof.

    Attributes:
        rows: The migrations, oldest first.
        running: Another deploy that is running now.
        backup_at: When the newest backup was taken.
        restore_tested_at: When a restore was last proven.
        unfinished: What became of the last run, where it applied nothing and took nothing back.
        notes: What people said and nobody has answered; the soak clock stands.
        misnamed: SQL files among the migrations that are none, because of their names.
    """

    rows: tuple[Row, ...]
    running: str | None
    backup_at: datetime | None
    restore_tested_at: datetime | None
    unfinished: str | None
    notes: tuple[str, ...] = ()
    misnamed: tuple[str, ...] = ()

    def find(self, version: str) -> Row:
        """The line of one migration."""
        return next(row for row in self.rows if row.version == version)


def read_status(url: str, project: Project) -> Status:
    """Read where everything stands; changes nothing.

    Raises:
        TryAgainLater: Somebody holds a lock on what it is read from.
        Problem: The database can't be reached.
    """
    return read_soon(url, "status", lambda connection: status_of(connection, project))


def status_of(connection: Connection, project: Project) -> Status:
    """The same over an open connection."""
    entries = read_entries(connection)
    rows = _rows(connection, project, entries)
    backup, restored = latest(entries, Kind.BACKUP), latest(entries, Kind.RESTORE_TEST)
    return Status(
        rows,
        other_deploy(connection),
        backup.happened_at if backup else None,
        restored.happened_at if restored else None,
        _unfinished(entries),
        tuple(said(note) for note in open_notes(entries)),
        project.misnamed,
    )


def read_rows(url: str, project: Project) -> tuple[Row, ...]:
    """Every migration's line alone, oldest first; nobody asks what else runs.

    Raises:
        TryAgainLater: Somebody holds a lock on what it is read from.
        Problem: The database can't be reached.
    """
    return read_soon(
        url, "status", lambda connection: _rows(connection, project, read_entries(connection))
    )


def standing_of(connection: Connection, migration: Migration) -> Standing:
    """Where one migration stands, from its own rows of history and ledger alone."""
    version = migration.version
    entries = read_entries(connection, version)
    return _row(version, migration, read_applied(connection, version), entries).standing


def _rows(connection: Connection, project: Project, entries: tuple[Entry, ...]) -> tuple[Row, ...]:
    history = {row.version: row for row in read_history(connection)}
    files = {migration.version: migration for migration in project.migrations}
    events = by_version(entries)
    return tuple(
        _row(version, files.get(version), history.get(version), events.get(version, ()))
        for version in sorted({*history, *files}, key=int)
    )


def _row(
    version: str, file: Migration | None, applied: Applied | None, entries: tuple[Entry, ...]
) -> Row:
    entry = latest(entries, Kind.DEPLOY, Kind.ROLLBACK, Kind.ADOPT, version=version)
    name = file.name if file else applied.name if applied else ""
    at, person = (entry.happened_at, entry.person) if entry else (None, None)
    half = None if applied else half_of(entries, version)
    standing = Standing.HALF if half else _standing(version, file, applied, entries)
    return Row(version, name, standing, at, person, str(half) if half else None)


def _standing(
    version: str, file: Migration | None, applied: Applied | None, entries: tuple[Entry, ...]
) -> Standing:
    if applied is None:
        return Standing.HELD if is_held(entries, version) else Standing.PENDING
    if file is None:
        return Standing.UNKNOWN
    return Standing.EDITED if was_edited(file, applied, entries) else Standing.APPLIED


def was_edited(file: Migration, applied: Applied, entries: tuple[Entry, ...]) -> bool:
    """Whether a file no longer says what was applied.

    Our own checksum covers every byte; for what others applied, the history's statements do.
    """
    entry = latest(entries, Kind.DEPLOY, Kind.ADOPT, version=file.version)
    if entry is not None and entry.checksum is not None:
        return entry.checksum != file.up.checksum
    return applied.is_edited(file)


def _unfinished(entries: tuple[Entry, ...]) -> str | None:
    """What failed says so in the ledger; what was killed leaves the last thing that it had done."""
    # Of each run its last word; of one that was killed, the next run has written it.
    words = {entry.run: entry for entry in entries if entry.run}
    if not words:
        return None
    last = [*words.values()][-1]
    when = f"{last.happened_at:%Y-%m-%d %H:%M} UTC by {last.person}"
    match last.kind:
        case Kind.ATTEMPT:
            told = last.evidence
            if "told_by" in told:
                when = f"begun {told['began'][:16]} UTC by {told['by']}"
            return f"{tried(last)}, {when}: {told.get('why')}"
        case Kind.BACKUP | Kind.RESTORE_TEST:
            return f"cut off after its {last.kind}, {when}"
        case Kind.REHEARSAL:
            return f"{last.name} rehearsed, {when}; nothing was applied after that"
        case _:
            return None


def tried(attempt: Entry) -> str:
    """What was tried, how that came out, and how far it had come."""
    step = attempt.evidence.get("step")
    return f"{attempt.evidence.get('of')} of {attempt.name} {_CAME_OUT[attempt.outcome]}" + (
        f" in its {step}" if step else ""
    )


_CAME_OUT = {
    Outcome.REFUSED: "was refused",
    Outcome.FAILED: "failed",
    Outcome.NOT_NOW: "was given up for now",
    Outcome.INTERRUPTED: "was interrupted",
}
