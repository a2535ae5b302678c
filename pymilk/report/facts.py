"""What the ledger's events say, as typed values.

Ledgers keep what older versions of the tool have written: whatever they did not write down yet has
a default here that says so, and what is no more of interest is left out.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pymilk.database.ledger import Entry
from pymilk.deploy.basis.evidence import Unread
from pymilk.problem import Problem

Figures = Mapping[str, Mapping[str, tuple[str, ...]]]


class Facts(BaseModel):
    """Facts of one event."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class BackupFacts(Facts):
    """A backup: where, when (the moment of its snapshot), how much."""

    folder: str = ""
    taken_at: datetime | None = None
    bytes: int = 0
    tables: int = 0
    rows: int = 0


class RestoreTestFacts(Facts):
    """A restore that was compared: seconds, and how much was equal."""

    seconds: float = 0
    tables: int = 0
    rows: int = 0
    stood_in: Mapping[str, str] = {}


class LockFacts(Facts):
    """The strongest lock on one table: its mode, whom it keeps waiting, for how many seconds."""

    mode: str
    blocks: str
    seconds: float


class LostFacts(Facts):
    """What a rollback takes away and the archive keeps: `table`, `column` or `changed`."""

    kind: str
    table: str
    columns: tuple[str, ...] = ()
    rows: int = 0


class UsedFacts(Facts):
    """How the change was used on the copy, and what its rollback took away after that."""

    scripts: tuple[str, ...] = ()
    unused: str = ""
    seconds: float = 0
    tables: tuple[str, ...] = ()
    down_seconds: float | None = None
    lost: tuple[LostFacts, ...] = ()
    left: Mapping[str, int] = {}
    rewritten: tuple[str, ...] = ()


class RehearsalFacts(Facts):
    """A rehearsal on a restored copy; `down_seconds` is none where there is no rollback.

    `verify_seconds` is 0 where there is no verification, and none where nobody wrote it down.
    """

    up_seconds: float = 0
    verify_seconds: float | None = None
    down_seconds: float | None = None
    locks: Mapping[str, LockFacts] = {}
    strong_lock_seconds: float = 0
    changed_tables: tuple[str, ...] = ()
    reshaped: tuple[str, ...] = ()
    used: UsedFacts = UsedFacts()
    not_undone: tuple[str, ...] = ()
    unread: Unread = Unread()
    where: str = ""

    @property
    def verified(self) -> bool:
        """Whether it was verified there."""
        return self.verify_seconds != 0


class PreflightFacts(Facts):
    """When everything had been looked at, and how many seconds that took."""

    ended: datetime | None = None
    seconds: float | None = None


class DeployFacts(Facts):
    """A deploy: its proof, and what was there the moment before.

    Attributes:
        checks: Check of the preflight → verdict and what was found.
        preflight: When that was.
        overrides: Check → the reason for going on without it.
        uncommitted: Files that differed from the git revision.
        state_before: The project's figures just before.
        rows_before: Table → rows just before; empty where it was not written down.
        written: Tables whose rows the deploy wrote.
        standing: Invariant → rows that broke it before the deploy already.
        given_back: Table → rows that an earlier rollback had kept and this deploy gave back.
        left_in_archive: Table → archived rows in whose place newer ones stand.
        steps: How many, where it could not be one transaction.
    """

    checks: Mapping[str, str] = {}
    preflight: PreflightFacts = PreflightFacts()
    overrides: Mapping[str, str] = {}
    uncommitted: tuple[str, ...] = ()
    rehearsal: RehearsalFacts = RehearsalFacts()
    rollback_script: str | None = None
    state_before: Figures = {}
    rows_before: Mapping[str, int] = {}
    written: tuple[str, ...] = ()
    standing: Mapping[str, int] = {}
    given_back: Mapping[str, int] = {}
    left_in_archive: Mapping[str, int] = {}
    locked_seconds: float | None = None
    steps: int | None = None


class AfterFacts(Facts):
    """The first look after the commit.

    Attributes:
        seconds: How long the deploy's transaction was open.
        locked_seconds: How long of that its strong locks were held; 0 where there were none.
        attempts: At which attempt the locks were had.
        queue_ms: How long, in milliseconds, each attempt queued for them at most.
        canary_seconds: How long the verification took; none where there is none.
        rows_after: Table → rows.
        moved: Query → key → its figures, of those that were others before; none where it is gone.
        broken: Violations that were not there just before, a line each.
    """

    seconds: float | None = None
    locked_seconds: float | None = None
    attempts: int | None = None
    queue_ms: int | None = None
    canary_seconds: float | None = None
    rows_after: Mapping[str, int] = {}
    moved: Mapping[str, Mapping[str, tuple[str, ...] | None]] = {}
    broken: tuple[str, ...] = ()


class BreachFacts(Facts):
    """A breach that a watch has found: of which deploy, what was broken, and what followed.

    Attributes:
        deploy: The id of the deploy's event.
        said: What was broken, a line each.
        then: What the watch did about it.
        why: Why it did not do more; none where nothing kept it.
    """

    deploy: int | None = None
    said: tuple[str, ...] = ()
    then: str = ""
    why: str | None = None


class RollbackFacts(Facts):
    """A rollback: what the archive keeps, what was left as it was or not compared, and why.

    `seconds` is how long its transaction was open, but for the commit.
    """

    kept: tuple[str, ...] = ()
    drift: tuple[str, ...] = ()
    uncompared: tuple[str, ...] = ()
    overrides: Mapping[str, str] = {}
    state: Figures = {}
    seconds: float | None = None


_F = TypeVar("_F", bound=Facts)


def facts_of(entry: Entry, kind: type[_F]) -> _F:
    """The facts of an event.

    Raises:
        Problem: They aren't what any pymilk up to this one has written.
    """
    try:
        return kind.model_validate(entry.evidence)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise Problem(
            f"Event {entry.id} of the ledger ({entry.kind}) can't be read: {where}.",
            state="Nothing was changed.",
            todo=f"'pymilk history {entry.id} --json' shows it as it is.",
        ) from error
