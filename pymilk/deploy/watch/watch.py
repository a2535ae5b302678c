"""Watch a live database: sample after sample into the ledger, until it was watched for long enough.

Everything that a watch knows is in the ledger: which deploy it is of, what stood before, for how
long it was watched, who was told of what. So it can lose its connection, its terminal or its
machine; whoever starts it again goes on where it was.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta

import psycopg
from psycopg import conninfo

from pymilk.database.connection import Connection, Target, connect, first_line
from pymilk.database.ledger import Kind, latest, ledger_exists, prepare_ledger, read_entries, whole
from pymilk.deploy.basis.plan import Plan
from pymilk.deploy.health.before import Before, newest_marks, read_before
from pymilk.deploy.health.samples import Moment, Taken, read_moments, read_samples, record_sample
from pymilk.deploy.health.sampling import take_sample
from pymilk.deploy.health.watched_time import together, watched_spans
from pymilk.deploy.watch.breach import Answer, Breach, answer_breach, is_told
from pymilk.problem import Problem, UsageProblem
from pymilk.project.policy import Policy
from pymilk.project.project import Project

# A query of a sample that takes longer is given up: a watch must not be in anybody's way.
_LONGEST_QUERY = "60s"
_LONGEST_LOCK_WAIT = "5s"

# A line that is cut without a word is noticed by then.
_LINE = {"keepalives_idle": 20, "keepalives_interval": 10, "keepalives_count": 3}

_LONGEST_PAUSE_SECONDS = 30.0


@dataclass(frozen=True)
class Asked:
    """What is to be watched, and how.

    Attributes:
        project: Whose invariants, daily statements and outcomes.
        target: The database.
        policy: Whether to roll back, and how far two samples may lie apart.
        every_seconds: From one sample to the next.
        for_seconds: Until it was watched for so long since the deploy; none for one sample.
        plan_for: Gives the plan of a migration's rollback, by its version.
        on_breach: A command that is run on each new breach.
        run: What the samples have in common.
    """

    project: Project
    target: Target
    policy: Policy
    every_seconds: float
    for_seconds: float | None
    plan_for: Callable[[str], Plan]
    on_breach: str | None = None
    run: uuid.UUID = field(default_factory=uuid.uuid4)

    @property
    def gap(self) -> timedelta:
        """How far two samples may lie apart for the time between them to be watched."""
        return timedelta(minutes=self.policy.watch_gap_minutes)


@dataclass(frozen=True)
class Began:
    """The watch has begun, or goes on.

    Attributes:
        before: What is watched, and what stood before.
        watched_seconds: For how long it was watched already.
    """

    before: Before
    watched_seconds: float


@dataclass(frozen=True)
class Seen:
    """A sample, which is in the ledger.

    Attributes:
        taken: The sample.
        previous: The one before it.
        watched_seconds: For how long it was watched by now.
        breach: What broke, and what was done about it.
    """

    taken: Taken
    previous: Taken | None
    watched_seconds: float
    breach: Breach | None


@dataclass(frozen=True)
class Lost:
    """A sample could not be taken; it is tried again."""

    why: str


@dataclass(frozen=True)
class Ended:
    """There is nothing to watch any more: what was watched is no longer the newest deploy.

    Attributes:
        why: In a sentence.
        rolled_back: Whether a watch has rolled it back.
    """

    why: str
    rolled_back: bool


Happening = Began | Seen | Lost | Ended


@dataclass(frozen=True)
class _So:
    """How far a watch has come: read from the ledger, or known since."""

    before: Before
    marks: tuple[object, ...]
    moments: tuple[Moment, ...]
    previous: Taken | None


def watch(asked: Asked) -> Iterator[Happening]:
    """What happens, as it happens; every sample is in the ledger when it is given.

    Raises:
        UsageProblem: It is asked for less often than its policy takes for watching.
        Problem: The database can't be reached, at the beginning, or has no ledger.
    """
    refuse_too_seldom(asked)
    connection = _connect(asked)
    try:
        so = _read(connection, asked)
        yield Began(so.before, _watched(asked, so))
        failures = 0
        while True:
            began = time.monotonic()
            try:
                if connection.closed:
                    connection = _connect(asked)
                so, happening = _look(connection, asked, so)
            except (psycopg.OperationalError, Problem) as error:
                if asked.for_seconds is None:
                    raise
                connection.close()
                failures += 1
                yield Lost(first_line(error))
                time.sleep(_pause(asked, failures))
                continue
            failures = 0
            yield happening
            if _is_over(asked, happening):
                return
            time.sleep(max(0.0, began + asked.every_seconds - time.monotonic()))
    finally:
        connection.close()


def refuse_too_seldom(asked: Asked) -> None:
    """Refuse samples that lie so far apart that nothing between them would be watched.

    Raises:
        UsageProblem: They do.
    """
    if asked.for_seconds is not None and asked.every_seconds > asked.gap.total_seconds():
        raise UsageProblem(
            f"A sample every {asked.every_seconds / 60:g} minutes is too seldom: the policy takes"
            f" {asked.policy.watch_gap_minutes:g} minutes between two of them for watched.",
            state="No database was touched.",
            todo="Give a shorter --every, or set watch_gap_minutes in the policy.",
        )


def _look(connection: Connection, asked: Asked, so: _So) -> tuple[_So, Seen | Ended]:
    """Take a sample, unless what was watched has gone."""
    if newest_marks(connection) != so.marks:
        now = _read(connection, asked)
        if now.before.number != so.before.number:
            return so, _ended(connection, so)
        so = now
    return _sample(connection, asked, so)


def _sample(connection: Connection, asked: Asked, so: _So) -> tuple[_So, Seen]:
    previous = so.previous.sample if so.previous else None
    sample = take_sample(connection, asked.project, so.before, previous)
    before = so.before.with_baseline(sample)
    number = record_sample(connection, sample, before.number, asked.run)
    taken = Taken(number, before.number, asked.run, "", sample)
    breach = None
    if sample.breach:
        told = is_told(taken, before, previous, by_command=asked.on_breach is not None)
        breach = answer_breach(connection, _answer(asked, before), taken, before, told=told)
        if not breach.then.ends_the_watch:
            before = read_before(connection)
    moment = Moment(sample.taken_at, bool(sample.breach), asked.run, not sample.failed)
    now = replace(so, before=before, moments=(*so.moments, moment), previous=taken)
    return now, Seen(taken, so.previous, _watched(asked, now), breach)


def _answer(asked: Asked, before: Before) -> Answer:
    deploy = before.deploy
    if deploy is None or deploy.version is None or not asked.policy.rollback_on_breach:
        return Answer(asked.target, None, asked.on_breach)
    version = deploy.version
    return Answer(asked.target, lambda: asked.plan_for(version), asked.on_breach)


def _is_over(asked: Asked, seen: Seen | Ended) -> bool:
    if isinstance(seen, Ended):
        return True
    if seen.breach is not None and seen.breach.then.ends_the_watch:
        return True
    return asked.for_seconds is None or seen.watched_seconds >= asked.for_seconds


def _connect(asked: Asked) -> Connection:
    connection = connect(conninfo.make_conninfo(asked.target.url, **_LINE), purpose="watch")
    connection.execute(
        "select set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false)",
        (_LONGEST_QUERY, _LONGEST_LOCK_WAIT),
    )
    return connection


def _read(connection: Connection, asked: Asked) -> _So:
    if not ledger_exists(connection):
        raise Problem(
            "This database has no ledger yet, and what a watch sees goes into it.",
            state="Nothing was changed.",
            todo="Take it into care first: pymilk adopt",
        )
    prepare_ledger(connection)
    marks, before = newest_marks(connection), read_before(connection)
    newest = read_samples(connection, before.number, last=1)
    moments = read_moments(connection, before.number)
    if before.deploy is None:
        # Without a deploy there is nothing that it could have been watched since.
        moments = tuple(one for one in moments if one.watch == asked.run)
    return _So(before, marks, moments, newest[0] if newest else None)


def _watched(asked: Asked, so: _So) -> float:
    since = so.before.deploy.happened_at if so.before.deploy else None
    watched: timedelta = together(watched_spans(so.moments, since, asked.gap))
    return watched / timedelta(seconds=1)


def _ended(connection: Connection, so: _So) -> Ended:
    deploy = so.before.deploy
    version = deploy.version if deploy else None
    gone = latest(read_entries(connection), Kind.DEPLOY, Kind.ROLLBACK, version=version)
    if gone is not None and version is not None and gone.kind is Kind.ROLLBACK:
        because = whole(connection, gone).evidence.get("because") or ()
        why = f", because of {'; '.join(because)}" if because else ""
        return Ended(
            f"{gone.name} was rolled back at {gone.happened_at:%H:%M:%S} UTC by {gone.person}{why}",
            bool(because),
        )
    return Ended("another deploy has come: watch that one (pymilk watch)", rolled_back=False)


def _pause(asked: Asked, failures: int) -> float:
    return min(asked.every_seconds, 0.5 * 2.0**failures, _LONGEST_PAUSE_SECONDS)
