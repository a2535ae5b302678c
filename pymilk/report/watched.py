"""What a watch has seen of a deployment, as charts and in a few sentences."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from pymilk.deploy.basis.sample import Sample
from pymilk.deploy.health.samples import Taken, between
from pymilk.report import charts
from pymilk.report.charts import Axis, Picture, Point
from pymilk.report.wording import Wording

_SECONDS_A_MINUTE = 60
# As many lines as can be told apart; the slowest say most.
_MOST_SERIES = 5


@dataclass(frozen=True)
class Plot:
    """One chart with the sentence that says what it shows."""

    title: str
    sentence: str
    chart: Markup


@dataclass(frozen=True)
class Watched:
    """What a watch has seen.

    Attributes:
        sentences: From when to when, how often, by whom, and what it found.
        plots: The charts.
        warnings: What it said deserves a look, each once.
        lacking: What there was nothing to be seen of, and why.
    """

    sentences: tuple[str, ...]
    plots: tuple[Plot, ...]
    warnings: tuple[str, ...]
    lacking: tuple[str, ...]


def tell_watch(taken: Sequence[Taken], wording: Wording) -> Watched | None:
    """What the samples of a deployment show; none where nobody has watched."""
    if not taken:
        return None
    samples = tuple(one.sample for one in taken)
    plots = (
        _broken(samples, wording),
        _rolled_back(samples, wording),
        _waits(samples, wording),
        _times(samples, wording),
    )
    return Watched(
        tuple(_sentences(taken, wording)),
        tuple(plot for plot in plots if plot is not None),
        tuple(dict.fromkeys(warning for sample in samples for warning in sample.warnings)),
        tuple(f"{what}: {why}" for what, why in samples[-1].lacking.items()),
    )


def _sentences(taken: Sequence[Taken], wording: Wording) -> Iterator[str]:
    people = ", ".join(dict.fromkeys(one.person for one in taken))
    first, last = taken[0].taken_at, taken[-1].taken_at
    yield (
        f"{people} watched it from {wording.moment(first)} to {wording.moment(last)}:"
        f" {wording.number(len(taken))} sample{'' if len(taken) == 1 else 's'}."
    )
    broken = sum(bool(one.sample.breach) for one in taken)
    yield (
        f"In {broken} of them a rule of the books was broken that held before."
        if broken
        else "In none of them was a rule of the books broken that held before."
    )
    failed = sorted({name for one in taken for name in one.sample.failed})
    if failed:
        yield f"Could not be read in some of them: {', '.join(failed)}."


def _broken(samples: Sequence[Sample], wording: Wording) -> Plot:
    points = [
        Point(sample.taken_at, "rows", sum(found.new for found in sample.breach))
        for sample in samples
    ]
    most = max(point.value for point in points)
    sentence = (
        f"At most {most:,.0f} row{'' if most == 1 else 's'} broke a rule that held before the"
        " deploy."
        if most
        else "No row broke a rule that held before the deploy."
    )
    return _plot("Broken rules", sentence, Axis("rows", counted=True), points, wording)


def _rolled_back(samples: Sequence[Sample], wording: Wording) -> Plot | None:
    points = []
    for earlier, later in pairwise(samples):
        counted = between(earlier.activity, later.activity)
        minutes = (later.taken_at - earlier.taken_at).total_seconds() / _SECONDS_A_MINUTE
        if counted is not None and minutes > 0:
            points.append(Point(later.taken_at, "rolled back", counted.rollbacks / minutes))
    if not points:
        return None
    most = max(point.value for point in points)
    sentence = (
        f"At most {most:,.1f} transactions a minute were rolled back; a refused call is one."
        if most
        else "No transaction was rolled back, so no call was refused."
    )
    return _plot("Refused or failed", sentence, Axis("a minute"), points, wording)


def _waits(samples: Sequence[Sample], wording: Wording) -> Plot:
    points = [Point(each.taken_at, "longest", each.waits.longest_seconds) for each in samples]
    most = max(point.value for point in points)
    sentence = (
        f"The longest wait for a lock that was seen had lasted {wording.seconds(most)}."
        if most
        else "Nobody was seen waiting for a lock."
    )
    return _plot("Waiting for locks", sentence, Axis("seconds"), points, wording)


def _times(samples: Sequence[Sample], wording: Wording) -> Plot | None:
    longest: dict[str, float] = {}
    for sample in samples:
        for name, seconds in sample.times.items():
            longest[name] = max(seconds, longest.get(name, 0))
    shown = sorted(longest, key=lambda name: -longest[name])[:_MOST_SERIES]
    if not shown:
        return None
    points = [
        Point(sample.taken_at, name, sample.times[name] * 1000)
        for sample in samples
        for name in shown
        if name in sample.times
    ]
    before = next((sample.times_before for sample in samples if sample.times_before), {})
    told = "; ".join(
        f"{name} at most {wording.seconds(longest[name])}"
        + (f", {wording.seconds(before[name])} before the deploy" if name in before else "")
        for name in shown
    )
    return _plot("What the app asks all day", f"{told}.", Axis("milliseconds"), points, wording)


def _plot(title: str, sentence: str, axis: Axis, points: Sequence[Point], wording: Wording) -> Plot:
    return Plot(title, sentence, charts.lines(Picture(title, sentence), axis, points, wording))
