"""How long the newest deploy has proven itself: its time under watch, less that of complaints.

Time that nobody watched proves little, and time in which something was broken, or a complaint was
open, proves nothing. A project that can't watch may count the time that a deploy was live instead;
it has to say so, in its policy.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pymilk.database.connection import Connection
from pymilk.database.ledger import Entry, Kind
from pymilk.deploy.basis.notes import open_notes
from pymilk.deploy.health.before import live_deploy
from pymilk.deploy.health.samples import Moment, read_moments
from pymilk.deploy.health.watched_time import Span, broken_spans, less, watched_spans
from pymilk.project.policy import Policy, SoakCounts

_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Soak:
    """The soak of the newest deploy that is live.

    Attributes:
        deploy: The deploy.
        needed: How many hours the policy asks for.
        passed: How many hours have counted so far.
        watched: Whether only those count in which it was watched.
        broken: Whether something that held before the deploy was broken at the newest look.
        waiting: Notes that nobody has answered; while there are any, the clock stands.
        now: The moment that this was read.
    """

    deploy: Entry
    needed: float
    passed: float
    watched: bool
    broken: bool
    waiting: tuple[Entry, ...]
    now: datetime

    @property
    def over(self) -> bool:
        """Whether the next deploy may come."""
        return self.passed >= self.needed and not self.waiting and not self.broken

    @property
    def until(self) -> datetime:
        """When it is over, if it is watched from this moment on, and nothing more comes up.

        Open complaints count as answered this moment.
        """
        return self.now + max(self.needed - self.passed, 0) * _HOUR


def read_soak(
    connection: Connection,
    entries: tuple[Entry, ...],
    live: Collection[str],
    policy: Policy,
    now: datetime,
) -> Soak | None:
    """The soak of the newest deploy; none when nothing was deployed, or nothing has to soak.

    Args:
        connection: To the target, for the samples.
        entries: The ledger.
        live: The versions that are applied.
        policy: How many hours, and which.
        now: This moment, in UTC.
    """
    deploy = live_deploy(entries, live)
    if deploy is None or policy.soak_hours == 0:
        return None
    return soaking(entries, deploy, read_moments(connection, deploy.id), policy, now)


def soaking(
    entries: tuple[Entry, ...],
    deploy: Entry,
    moments: Sequence[Moment],
    policy: Policy,
    now: datetime,
) -> Soak:
    """The same, from what was read.

    Args:
        entries: The ledger.
        deploy: The newest live deploy.
        moments: When it was watched, oldest first.
        policy: How many hours, and which.
        now: This moment, in UTC.
    """
    watched = policy.soak_counts is SoakCounts.WATCHED
    # A rule that could not be read may have been broken.
    moments = [moment for moment in moments if moment.vouches]
    gap = timedelta(minutes=policy.watch_gap_minutes)
    counted: tuple[Span, ...] = ((deploy.happened_at, now),)
    if watched:
        counted = watched_spans(moments, deploy.happened_at, gap)
    stood = (*_complaints(entries, now), *broken_spans(moments, deploy.happened_at, now))
    return Soak(
        deploy,
        policy.soak_hours,
        less(counted, stood) / _HOUR,
        watched,
        bool(moments) and moments[-1].breach,
        open_notes(entries),
        now,
    )


def _complaints(entries: tuple[Entry, ...], now: datetime) -> tuple[Span, ...]:
    """From each complaint to its answer, or to now."""
    answered = {entry.answers: entry.happened_at for entry in entries if entry.answers is not None}
    return tuple(
        (note.happened_at, answered.get(note.id, now))
        for note in entries
        if note.kind is Kind.NOTE and note.answers is None
    )
