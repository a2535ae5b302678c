"""What a watch compares with: the newest live deploy, and what the ledger says stood before it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from pymilk.database.connection import Connection
from pymilk.database.history import TABLE, history_exists, read_versions
from pymilk.database.ledger import Entry, Kind, latest, read_entries, whole
from pymilk.deploy.basis.sample import Row, Sample, key_of
from pymilk.deploy.health.samples import read_baselines


@dataclass(frozen=True)
class Before:
    """What is watched, and what was so before it.

    Attributes:
        deploy: The newest deploy that is live; none where pymilk has deployed nothing.
        standing: Invariant → what violated it already, as `key_of` names it. One that is missing
            was not looked at before; the first sample tells.
        times: Query of sql/daily → seconds that it took before.
        breaches: What earlier samples of this deploy found broken, oldest first.
        unread: Files that its rehearsal could not read either, by their short paths: a later
            migration has to make what they read.
    """

    deploy: Entry | None
    standing: Mapping[str, frozenset[Row]] = field(default_factory=dict)
    times: Mapping[str, float] = field(default_factory=dict)
    breaches: tuple[Entry, ...] = ()
    unread: frozenset[str] = frozenset()

    @property
    def number(self) -> int | None:
        """The number of the deploy's event."""
        return self.deploy.id if self.deploy else None

    @property
    def label(self) -> str:
        """What is watched, in words."""
        if self.deploy is None:
            return "the database, on which pymilk has deployed nothing"
        return f"{self.deploy.name}, deployed {self.deploy.happened_at:%Y-%m-%d %H:%M} UTC"

    def with_baseline(self, sample: Sample) -> "Before":
        """With what the first sample has found standing, of what nobody had looked at before."""
        if not sample.baseline:
            return self
        return replace(self, standing={**_keys(sample.baseline), **self.standing})


def live_deploy(entries: tuple[Entry, ...], live: Collection[str]) -> Entry | None:
    """The newest deploy of what is applied."""
    return latest(tuple(entry for entry in entries if entry.version in live), Kind.DEPLOY)


def read_before(connection: Connection) -> Before:
    """What is to be watched on this database.

    Raises:
        Problem: The ledger was made by a newer pymilk.
    """
    entries = read_entries(connection)
    deploy = live_deploy(entries, read_versions(connection))
    number = deploy.id if deploy else None
    standing: dict[str, frozenset[Row]] = {}
    for baseline in read_baselines(connection, number):
        standing = {**_keys(baseline), **standing}
    if deploy is None:
        return Before(None, standing)
    deploy = whole(connection, deploy)
    recorded = deploy.evidence.get("violating", {})
    found = {name: frozenset(map(tuple, rows)) for name, rows in recorded.items()}
    return Before(
        deploy,
        {**standing, **found},
        deploy.evidence.get("daily_before", {}),
        tuple(
            entry
            for entry in entries
            if entry.kind is Kind.BREACH and entry.evidence.get("deploy") == number
        ),
        frozenset(deploy.evidence.get("rehearsal", {}).get("unread", {}).get("after", ())),
    )


def newest_marks(connection: Connection) -> tuple[object, ...]:
    """What changes when somebody deploys or rolls back, by whatever tool."""
    events = "select max(id) from pymilk.events where kind in ('deploy', 'rollback')"
    history = f"select count(*), max(version) from {TABLE}"  # noqa: S608 - a constant
    marks = connection.execute(events).fetchone() or ()
    if not history_exists(connection):
        return marks
    return (*marks, *(connection.execute(history).fetchone() or ()))


def _keys(rows: Mapping[str, tuple[Row, ...]]) -> dict[str, frozenset[Row]]:
    return {name: frozenset(key_of(row) for row in found) for name, found in rows.items()}
