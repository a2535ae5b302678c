"""What each step of the pipeline found out: plain values, rendered and written to the ledger."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from pymilk.database.catalog import Catalog
from pymilk.database.manifest import Backup
from pymilk.database.row_types import changed_row_types
from pymilk.project.migrations import Script


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
    """Every check passed, or was overridden with a reason.

    Attributes:
        checks: Each of them.
        catalog: The schema as it was.
        daily: Query of sql/daily → seconds that it took before the deploy.
        ended: When all of it had been looked at; none where that doesn't matter.
        seconds: How long that took.
    """

    checks: tuple[Check, ...]
    catalog: Catalog
    daily: Mapping[str, float] = field(default_factory=dict)
    ended: datetime | None = None
    seconds: float = 0.0


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
        stood_in: Extension that the copy has no real one of → what its stand-in is, and is not.
    """

    seconds: float
    tables: int
    rows: int
    stood_in: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StatementTime:
    """One statement of a script, as it ran; seconds."""

    line: int
    words: str
    seconds: float
    text: str = field(default="", repr=False)


class Blocked(StrEnum):
    """Whom a lock on a table keeps waiting for as long as it is held."""

    NOBODY = "nobody"
    ROW_WRITERS = "writers of the rows that it changes"
    WRITERS = "writers"
    EVERYBODY = "readers and writers"


@dataclass(frozen=True)
class LockHeld:
    """The strongest lock that a script takes on one table that was there before it.

    Attributes:
        mode: As pg_locks names it.
        blocks: Whom it keeps waiting.
        seconds: For how long: from the beginning of the statement that takes it to the end of the
            script, and of what follows before the commit, as rehearsed on the copy's rows.
    """

    mode: str
    blocks: Blocked
    seconds: float


@dataclass(frozen=True)
class StatementRun:
    """One statement, as it ran on the copy.

    Attributes:
        line: Where it begins in its file.
        words: Its first words.
        seconds: How long it took.
        locks: Existing table → the lock that this statement took, where it is stronger than what
            the script held on that table before.
        rewrites: Existing tables that it wrote anew, row by row.
        blocks: Whom the strongest of these locks keeps waiting.
        held_seconds: For how long, as rehearsed on the copy's rows: from its beginning to the end
            of the script, and of what follows before the commit; 0 where it keeps nobody waiting.
        unproven: Tables of the platform's that it names and reads rows of: a copy has their keys
            alone, so what it makes of the rest is not proven.
    """

    line: int
    words: str
    seconds: float
    locks: Mapping[str, str]
    rewrites: tuple[str, ...]
    blocks: Blocked = Blocked.NOBODY
    held_seconds: float = 0.0
    unproven: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScriptRun:
    """One script, as it ran on the copy, where nobody is in its way.

    Attributes:
        seconds: How long its statements took, all together.
        statements: Each of them.
        locked: Existing table → the strongest lock on it, and for how long.
        strong_lock_seconds: For how long it keeps readers or writers of some table waiting: from
            the first statement that takes a lock which blocks either, on any table.
    """

    seconds: float
    statements: tuple[StatementRun, ...]
    locked: Mapping[str, LockHeld]
    strong_lock_seconds: float

    @property
    def rewritten(self) -> tuple[str, ...]:
        """Existing tables that it writes anew."""
        return tuple(sorted({table for one in self.statements for table in one.rewrites}))


@dataclass(frozen=True)
class Lost:
    """What a rollback takes away of what people did since the deploy; the archive keeps it.

    Attributes:
        kind: `table`, `column` or `changed`, as the archive tells them apart.
        table: Which table.
        columns: Of a column that goes: its name.
        rows: How many rows.
    """

    kind: str
    table: str
    columns: tuple[str, ...]
    rows: int


@dataclass(frozen=True)
class Used:
    """The deployed change was used on the copy, rolled back with that in place, deployed again.

    Attributes:
        scripts: The workloads, as paths under supabase/; none where it was not used.
        unused: Why it was not used; empty where it was.
        seconds: How long the workloads took.
        tables: The tables that they wrote to.
        down_seconds: How long the rollback took with that in place; none where there is none.
        lost: What it took away. Every other row stayed as it was.
        left: Table → rows that the next deploy left in the archive: newer values stand there.
        rewritten: Tables whose rows are others now, because the migration writes to them itself or
            nobody gives such rows back. Every other table is as it was when it had been used.
    """

    scripts: tuple[str, ...] = ()
    unused: str = ""
    seconds: float = 0.0
    tables: tuple[str, ...] = ()
    down_seconds: float | None = None
    lost: tuple[Lost, ...] = ()
    left: Mapping[str, int] = field(default_factory=dict)
    rewritten: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unread:
    """Files of figures and invariants that read what isn't there, by their short paths.

    Attributes:
        before: Before the migration → what Postgres said.
        after: After it as well, so that a later one has to make it → what Postgres said.
    """

    before: Mapping[str, str] = field(default_factory=dict)
    after: Mapping[str, str] = field(default_factory=dict)

    @property
    def only_before(self) -> tuple[str, ...]:
        """What was said of those that the migration makes readable."""
        return tuple(why for name, why in self.before.items() if name not in self.after)

    def readable(self, queries: Iterable[Script]) -> tuple[Script, ...]:
        """Of the project's queries those that can be read once the migration is there."""
        return tuple(query for query in queries if query.short_path not in self.after)


@dataclass(frozen=True)
class Rehearsed:
    """Up, verify, down, up, use, down, up on the restored copy.

    Attributes:
        label: Of which migration.
        before: The schema before; the rollback restored exactly this.
        after: The schema after; the live one must become exactly this.
        up: The migration, as it ran.
        verify_seconds: How long its verification took; 0 where there is none.
        down: The rollback, as it ran; none where there is none.
        changed_tables: Existing tables whose rows the migration itself changed.
        used: What became of it when it had been used.
        where: On what kind of server.
        major: Its major version.
        canary_tables: What the transaction had looked at or written to by the end of the canary.
        weighed_tables: What figures and invariants look at, before the migration or after it.
        not_undone: What the migration does of which nobody knows whether its rollback undoes it.
        unread: Figures and invariants that read what isn't there.
    """

    label: str
    before: Catalog
    after: Catalog
    up: ScriptRun
    verify_seconds: float
    down: ScriptRun | None
    changed_tables: tuple[str, ...]
    used: Used
    where: str
    major: int
    canary_tables: frozenset[str]
    weighed_tables: frozenset[str]
    not_undone: tuple[str, ...] = ()
    unread: Unread = field(default_factory=Unread)

    @property
    def up_seconds(self) -> float:
        """How long the migration takes, its verification included."""
        return self.up.seconds + self.verify_seconds

    @cached_property
    def reshaped(self) -> tuple[str, ...]:
        """Existing tables and views whose rows have other columns, or columns of another type.

        A session that has prepared `select *` of one is refused until it connects again, after
        the deploy and after a rollback.
        """
        return changed_row_types(self.before, self.after)


@dataclass(frozen=True)
class Applied:
    """The live change, committed.

    Attributes:
        seconds: How long the transaction was open that did it; of steps, all of them together.
        locked_seconds: How long of that, at most, the migration's own locks were held; of steps,
            the longest of them.
        attempts: Which attempt got its locks; of steps, the proof's.
        state_before: The project's figures just before.
        rows_before: Table → rows just before.
        violations_before: Broken invariants that were there before the deploy already.
        compared_inside: Whether the migration wrote rows that figures or invariants look at, so
            that these were compared in its own transaction too.
        given_back: Table → rows that an earlier rollback had kept, given back.
        left_in_archive: Table → archived rows in whose place newer values stand.
        steps: In how many steps it was committed; none where all of it was one transaction.
    """

    seconds: float
    locked_seconds: float
    attempts: int
    state_before: State
    rows_before: Mapping[str, int]
    violations_before: Violations
    compared_inside: bool
    given_back: Mapping[str, int]
    left_in_archive: Mapping[str, int]
    steps: int | None

    @property
    def standing_violations(self) -> Mapping[str, int]:
        """Invariant → how many rows broke it before the deploy already."""
        return {name: len(rows) for name, rows in self.violations_before.items() if rows}


@dataclass(frozen=True)
class Watched:
    """The first look afterwards, when nobody waits for it any more.

    Attributes:
        canary_seconds: How long the verification took, through the API's roles; none without one.
        state_after: The project's figures after the commit.
        rows_after: Table → rows after the commit.
    """

    canary_seconds: float | None
    state_after: State
    rows_after: Mapping[str, int]


@dataclass(frozen=True)
class Evidence:
    """What the pipeline knows so far; each step adds its own part."""

    preflight: Preflight | None = None
    backup: BackupTaken | None = None
    restore_test: RestoreTested | None = None
    rehearsal: Rehearsed | None = None
    plan_hash: str | None = None
    applied: Applied | None = None
    after: Watched | None = None
