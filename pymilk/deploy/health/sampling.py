"""Take one sample of a live database: everything that a watch looks at, at one moment."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pymilk.database.connection import Connection
from pymilk.deploy.basis.sample import KEPT_ROWS, Broken, Row, Sample, Waits, key_of
from pymilk.deploy.health.before import Before
from pymilk.deploy.health.counters import read_counters, read_outcomes, read_waits
from pymilk.deploy.health.daily import time_daily
from pymilk.deploy.health.invariants import Checked, Invariant, read_checked
from pymilk.project.project import Project

# A series of calls of the app's makes violations in passing, which the next look doesn't find.
_LOOKS = 4
_BETWEEN_LOOKS_SECONDS = 0.5

# From here on somebody should look at a lock that others wait for.
_LONG_WAIT_SECONDS = 1.0

# A daily statement is slow when it takes so many times as long as before, and notably longer.
_SLOWER = 2.0
_NOTABLY_SECONDS = 0.02

_Key = tuple[str, Row]


@dataclass(frozen=True)
class _New:
    """What is violated that wasn't before the deploy: what stayed at each look, what passed."""

    staying: frozenset[_Key]
    passing: frozenset[_Key]


def take_sample(
    connection: Connection, project: Project, before: Before, previous: Sample | None
) -> Sample:
    """Look once.

    Args:
        connection: To the target, in no transaction.
        project: Whose invariants and daily statements.
        before: What stood before the deploy.
        previous: The sample before this one, if there is one.
    """
    checked = read_checked(connection, project.invariants)
    new = _look_again(connection, project, before, checked, _known(previous))
    counted = read_counters(connection)
    reported = read_outcomes(connection, project.outcomes)
    timed = time_daily(connection, project.daily)
    waits = read_waits(connection)
    lacking = {**counted.lacking, **reported.lacking}
    lacking |= {f"daily/{name}": why for name, why in timed.failed.items()}
    lacking |= dict(_nothing_to_read(project))
    files = {query.path.stem: query.short_path for query in project.invariants}
    failed = {each.name: each.failure for each in checked.failed}
    # A soak that waited for what the next migration makes would never let that one come.
    lacking |= {files[name]: why for name, why in failed.items() if files[name] in before.unread}
    unseen = [each for each in checked.invariants if each.name not in before.standing]
    return Sample(
        taken_at=checked.at,
        held_seconds=checked.held_seconds,
        invariants={each.name: each.seconds for each in checked.invariants if not each.failure},
        failed={name: why for name, why in failed.items() if files[name] not in before.unread},
        broken=tuple(_broken(each, new.staying) for each in checked.violated),
        passing=tuple(sorted(f"{name}: {', '.join(key)}" for name, key in new.passing)),
        outcomes=reported.outcomes,
        activity=counted.activity,
        waits=waits,
        times=timed.seconds,
        times_before={name: before.times[name] for name in timed.seconds if name in before.times},
        warnings=tuple(_warnings(waits, timed.seconds, before, previous)),
        lacking=lacking,
        baseline={
            each.name: tuple(dict.fromkeys(key_of(row) for row in each.rows))
            for each in unseen
            if not each.failure
        }
        or None,
    )


def _known(previous: Sample | None) -> frozenset[_Key]:
    broken = previous.breach if previous else ()
    return frozenset((each.invariant, key_of(row)) for each in broken for row in each.new_examples)


def _look_again(
    connection: Connection,
    project: Project,
    before: Before,
    checked: Checked,
    known: frozenset[_Key],
) -> _New:
    """What is new, and stays: looked at until nothing is left that an earlier sample didn't see."""
    fresh = staying = _fresh(checked.invariants, before)
    for _ in range(_LOOKS):
        if staying <= known:
            break
        time.sleep(_BETWEEN_LOOKS_SECONDS)
        names = {name for name, _ in staying}
        queries = [query for query in project.invariants if query.path.stem in names]
        again = read_checked(connection, queries)
        unread = {each.name for each in again.failed}
        # What can't be read this time has not passed.
        staying &= _fresh(again.invariants, before) | {key for key in staying if key[0] in unread}
    return _New(staying, fresh - staying)


def _fresh(invariants: Iterable[Invariant], before: Before) -> frozenset[_Key]:
    return frozenset(
        (each.name, key_of(row))
        for each in invariants
        for row in each.rows
        if each.name in before.standing and key_of(row) not in before.standing[each.name]
    )


def _broken(found: Invariant, staying: frozenset[_Key]) -> Broken:
    # In an order of ours: of many rows the same ones are kept at each sample.
    new = sorted(row for row in found.rows if (found.name, key_of(row)) in staying)
    old = [row for row in found.rows if (found.name, key_of(row)) not in staying]
    return Broken(found.name, len(found.rows), len(new), tuple((*new, *old)[:KEPT_ROWS]))


def _nothing_to_read(project: Project) -> Iterator[tuple[str, str]]:
    if not project.outcomes:
        yield "what clients report", "the project has no queries in sql/outcomes"
    if not project.daily:
        yield "daily statements", "the project has no queries in sql/daily"


def _warnings(
    waits: Waits, times: Mapping[str, float], before: Before, previous: Sample | None
) -> Iterator[str]:
    if waits.longest_seconds >= _LONG_WAIT_SECONDS:
        who = ", ".join(waits.blockers) or "nobody that can be seen"
        yield (
            f"{waits.sessions} session(s) wait for a lock, the longest for"
            f" {waits.longest_seconds:.1f} s; in the way: {who}"
        )
    for name, seconds in times.items():
        was = before.times.get(name)
        if was is None or not _is_slow(seconds, was):
            continue
        # One slow run is somebody's export; a second one in the next sample is none.
        if previous is not None and _is_slow(previous.times.get(name, 0.0), was):
            yield f"{name} takes {seconds * 1e3:.0f} ms; before the deploy {was * 1e3:.0f} ms"


def _is_slow(seconds: float, before: float) -> bool:
    return seconds > before * _SLOWER and seconds - before > _NOTABLY_SECONDS
