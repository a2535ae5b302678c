"""What each step of the pipeline found out: plain values, rendered and written to the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from pymilk.database.catalog import Catalog
from pymilk.database.dump import Backup


class Verdict(StrEnum):
    """How a check came out."""

    PASSED = "passed"
    NOTED = "noted"
    OVERRIDDEN = "overridden"
    FAILED = "failed"


@dataclass(frozen=True)
class Check:
    """One thing looked at before anything is touched.

    Attributes:
        name: What it is called, also in `--override NAME=REASON`.
        verdict: How it came out.
        found: One sentence of what was found.
        todo: What to do when it failed.
        reason: Why it was overridden, in the person's words.
    """

    name: str
    verdict: Verdict
    found: str
    todo: str = ""
    reason: str = ""


# query → key → figures, as text: compared for equality, never computed with.
State = Mapping[str, Mapping[str, tuple[str, ...]]]
# invariant → the rows that break it, as text.
Violations = Mapping[str, frozenset[tuple[str, ...]]]


@dataclass(frozen=True)
class Preflight:
    """Every check passed, or was overridden with a reason."""

    checks: tuple[Check, ...]
    catalog: Catalog


@dataclass(frozen=True)
class BackupTaken:
    """A backup of the target; `previous` is when the one before it was taken."""

    backup: Backup
    previous: datetime | None


@dataclass(frozen=True)
class RestoreTested:
    """The backup was restored, and is what it was taken from.

    Attributes:
        seconds: How long the restore took: the recovery time to reckon with.
        tables: How many tables were compared.
        rows: How many rows.
    """

    seconds: float
    tables: int
    rows: int


@dataclass(frozen=True)
class StatementTime:
    """One statement of the migration, as rehearsed; seconds."""

    line: int
    words: str
    seconds: float


@dataclass(frozen=True)
class Rehearsed:
    """Up, verify, down, up, verify on the restored copy.

    Attributes:
        before: The schema before; the rollback restored exactly this.
        after: The schema after; the live one must become exactly this.
        up_seconds: How long the migration took, its verification included.
        down_seconds: How long the rollback took; none where there is none.
        statements: The migration's statements with their times.
        locks: Existing table → strongest lock that the migration took on it.
        changed_tables: Existing tables whose rows the migration itself changed.
    """

    before: Catalog
    after: Catalog
    up_seconds: float
    down_seconds: float | None
    statements: tuple[StatementTime, ...]
    locks: Mapping[str, str]
    changed_tables: tuple[str, ...]


@dataclass(frozen=True)
class Applied:
    """The live change, committed.

    Attributes:
        seconds: How long the transaction was open that did it.
        locked_seconds: How long of that, at most, the migration's own locks were held.
        attempts: Which attempt got its locks.
        state_before: The project's figures just before.
        state_after: The same just after, in the same transaction.
        rows_before: Table → rows just before.
        rows_after: Table → rows just after.
        standing_violations: Broken invariants that were there before the deploy already.
        given_back: Table → rows that an earlier rollback had kept, given back.
        left_in_archive: Table → archived rows in whose place newer values stand.
    """

    seconds: float
    locked_seconds: float
    attempts: int
    state_before: State
    state_after: State
    rows_before: Mapping[str, int]
    rows_after: Mapping[str, int]
    standing_violations: Mapping[str, int]
    given_back: Mapping[str, int]
    left_in_archive: Mapping[str, int]


@dataclass(frozen=True)
class Watched:
    """The first look afterwards: the canary ran on the live database, through the API's roles."""

    canary_seconds: float | None


@dataclass(frozen=True)
class Evidence:
    """What the pipeline knows so far; each step adds its own part."""

    preflight: Preflight | None = None
    backup: BackupTaken | None = None
    restore_test: RestoreTested | None = None
    rehearsal: Rehearsed | None = None
    applied: Applied | None = None
    after: Watched | None = None

    @property
    def backup_folder(self) -> Path | None:
        """Where the backup of this deploy lies."""
        return self.backup.backup.folder if self.backup else None
