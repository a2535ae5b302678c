"""How long the newest deploy has proven itself: its time live, less the time of open complaints."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from pymilk.database.ledger import Entry, Kind, latest
from pymilk.deploy.notes import open_notes

_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Soak:
    """The soak of the newest deploy that is live.

    Attributes:
        deploy: The deploy.
        needed: How many hours the policy asks for.
        passed: How many hours have counted so far.
        waiting: Notes that nobody has answered; while there are any, the clock stands.
        now: The moment that this was read.
    """

    deploy: Entry
    needed: float
    passed: float
    waiting: tuple[Entry, ...]
    now: datetime

    @property
    def over(self) -> bool:
        """Whether the next deploy may come."""
        return self.passed >= self.needed and not self.waiting

    @property
    def until(self) -> datetime:
        """When it is over, should no complaint come, and open ones be answered this moment."""
        return self.now + max(self.needed - self.passed, 0) * _HOUR


def soaking(
    entries: tuple[Entry, ...], live: Collection[str], needed: float, now: datetime
) -> Soak | None:
    """The soak of the newest deploy; none when nothing was deployed, or nothing has to soak.

    Args:
        entries: The ledger.
        live: The versions that are applied.
        needed: Hours, from the policy.
        now: This moment, in UTC.
    """
    deploy = latest(tuple(entry for entry in entries if entry.version in live), Kind.DEPLOY)
    if deploy is None or needed == 0:
        return None
    # Ended events say when a clock that stood went on.
    answered = {entry.answers: entry.happened_at for entry in entries if entry.answers is not None}
    stood = [
        (max(note.happened_at, deploy.happened_at), answered.get(note.id, now))
        for note in entries
        if note.kind is Kind.NOTE and note.answers is None
    ]
    passed = now - deploy.happened_at - _together(stood)
    return Soak(deploy, needed, passed / _HOUR, open_notes(entries), now)


def _together(spans: list[tuple[datetime, datetime]]) -> timedelta:
    """How long spans of time last together, where they overlap counted once."""
    total, reached = timedelta(), None
    for begins, ends in sorted(spans):
        start = begins if reached is None else max(begins, reached)
        if ends > start:
            total, reached = total + (ends - start), ends
    return total
