"""One sample of a watch: what was seen of a live database at one moment, as plain values.

Counters are the server's own, as they stood: what happened between two samples is their difference,
and a sample that never reached the ledger loses nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

# What of an invariant's rows names the thing that violates it: what kind, and which one. What is
# said of it in further columns may move as people pay, and it is the same violation still.
_NAMING_COLUMNS = 2

# What a sample keeps of the rows that violate one invariant; how many there are, it says.
KEPT_ROWS = 20

Row = tuple[str, ...]
"""A row that violates an invariant, as text."""


def key_of(row: Row) -> Row:
    """What names the thing that violates an invariant: the first two columns."""
    return row[:_NAMING_COLUMNS]


@dataclass(frozen=True)
class Broken:
    """An invariant that some rows violate.

    Attributes:
        invariant: Its name: the file's, without `.sql`.
        rows: How many rows violate it.
        new: How many of them didn't before the deploy, and were there at each look.
        examples: Some of those rows, the new ones first; at most `KEPT_ROWS`.
    """

    invariant: str
    rows: int
    new: int = 0
    examples: tuple[Row, ...] = ()

    @property
    def new_examples(self) -> tuple[Row, ...]:
        """Those of the examples that are new."""
        return self.examples[: self.new]


@dataclass(frozen=True)
class Activity:
    """What the server counted in this database since its counters were last reset.

    Attributes:
        commits: Transactions that were committed.
        rollbacks: Transactions that were rolled back: a refused call is one.
        deadlocks: Transactions that the server ended because they waited for each other.
        counted_since: When the counters were reset; none where they never were.
        statements: Statements, where pg_stat_statements is there.
        statement_seconds: How long they took, all together.
        function_calls: Calls of functions, where track_functions is on.
        function_seconds: How long they took, all together.
    """

    commits: int
    rollbacks: int
    deadlocks: int
    counted_since: datetime | None = None
    statements: int | None = None
    statement_seconds: float | None = None
    function_calls: int | None = None
    function_seconds: float | None = None


@dataclass(frozen=True)
class Waits:
    """Who waited for a lock at that moment.

    Attributes:
        sessions: How many sessions waited.
        longest_seconds: How long the longest of them had waited.
        blockers: What the sessions in their way call themselves.
    """

    sessions: int = 0
    longest_seconds: float = 0.0
    blockers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sample:
    """What was seen at one moment.

    Attributes:
        taken_at: When: the moment of the snapshot, by the server's clock.
        held_seconds: How long the snapshot was held that the invariants were read in.
        invariants: Invariant → seconds that it took; those that could be read.
        failed: Invariant → why it could not be read.
        broken: The invariants that are violated.
        passing: Violations that were gone at the next look, a line each: a series of calls of the
            app's was in its middle.
        outcomes: Query of sql/outcomes → what clients report → how often so far.
        activity: The server's counters.
        waits: Who waited for a lock.
        times: Query of sql/daily → seconds that it took.
        times_before: The same, as it was just before the deploy.
        warnings: What deserves a look and breaks nothing, a sentence each.
        lacking: What there was nothing to be seen of → why.
        baseline: Invariant → what violated it when the watch began, where the deploy recorded none
            of it; only in the first sample that needs it.
    """

    taken_at: datetime
    held_seconds: float
    invariants: Mapping[str, float]
    failed: Mapping[str, str] = field(default_factory=dict)
    broken: tuple[Broken, ...] = ()
    passing: tuple[str, ...] = ()
    outcomes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    activity: Activity | None = None
    waits: Waits = Waits()
    times: Mapping[str, float] = field(default_factory=dict)
    times_before: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    lacking: Mapping[str, str] = field(default_factory=dict)
    baseline: Mapping[str, tuple[Row, ...]] | None = None

    @property
    def breach(self) -> tuple[Broken, ...]:
        """The invariants that are violated by what didn't violate them before the deploy."""
        return tuple(found for found in self.broken if found.new)
