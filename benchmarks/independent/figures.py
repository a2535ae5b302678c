"""A figure with its limit, and how sides are measured in turns."""

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum


class Sense(Enum):
    """Which way a limit points."""

    AT_MOST = "at most"
    AT_LEAST = "at least"


@dataclass(frozen=True)
class Limit:
    """What a target asks of a figure."""

    sense: Sense
    value: float

    def holds(self, value: float) -> bool:
        """Whether a value keeps within the limit."""
        return value <= self.value if self.sense is Sense.AT_MOST else value >= self.value

    def __str__(self) -> str:
        return f"{self.sense.value} {self.value:g}"


def at_most(value: float) -> Limit:
    """A limit from above."""
    return Limit(Sense.AT_MOST, value)


def at_least(value: float) -> Limit:
    """A limit from below."""
    return Limit(Sense.AT_LEAST, value)


@dataclass(frozen=True)
class Figure:
    """One figure: a value for each round.

    Attributes:
        target: The target's number.
        name: What was measured.
        reading: In which reading of the target.
        values: One for each round.
        unit: Of the values; a ratio has "x".
        limit: What the target asks; none where it only asks to report.
        note: What else one wants to see: the two sides of a ratio, mostly.
    """

    target: int
    name: str
    reading: str
    values: tuple[float, ...]
    unit: str = "x"
    limit: Limit | None = None
    note: str = ""

    @property
    def median(self) -> float:
        """The middle of the rounds: what the limit is held against."""
        return statistics.median(self.values)

    @property
    def holds(self) -> bool | None:
        """Whether the median keeps within the limit; none without a limit."""
        return None if self.limit is None else self.limit.holds(self.median)

    def line(self) -> str:
        """The figure as one line."""
        values = f"{_short(self.median)} {self.unit}"
        if len(self.values) > 1:
            values += f" ({_short(min(self.values))}..{_short(max(self.values))})"
        verdict = (
            "reported"
            if self.limit is None
            else f"{self.limit}: {'holds' if self.holds else 'DOES NOT HOLD'}"
        )
        note = f"  [{self.note}]" if self.note else ""
        return f"{self.target}  {self.name} | {self.reading} | {values} | {verdict}{note}"

    def as_dict(self) -> dict[str, object]:
        """The figure as JSON has it."""
        return {
            "target": self.target,
            "name": self.name,
            "reading": self.reading,
            "unit": self.unit,
            "values": list(self.values),
            "median": self.median,
            "lowest": min(self.values),
            "highest": max(self.values),
            "limit": None if self.limit is None else str(self.limit),
            "holds": self.holds,
            "note": self.note,
        }


def _short(value: float) -> str:
    return f"{value:.4g}"


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        rounds: How often each side is measured.
        quick: Tiny sizes, to see that everything works; the figures mean nothing.
    """

    rounds: int
    quick: bool

    def pick(self, full: int, quick: int) -> int:
        """A size: the full one or the quick one."""
        return quick if self.quick else full


Side = Callable[[], float]
Measured = dict[str, list[float]]


def in_turns(sides: Mapping[str, Side], rounds: int) -> Measured:
    """Measure each side once a round; each round begins with another side.

    Args:
        sides: Name → measures the side once, and returns the value.
        rounds: How many.
    """
    names = list(sides)
    measured: Measured = {name: [] for name in names}
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            value = sides[name]()
            measured[name].append(value)
            tell(f"round {number + 1}: {name}: {_short(value)}")
    return measured


def ratios(above: Sequence[float], below: Sequence[float]) -> tuple[float, ...]:
    """What one side is of the other, round by round."""
    return tuple(one / other for one, other in zip(above, below, strict=True))


@dataclass(frozen=True)
class Comparison:
    """Sides that were measured in turns, and what a target asks of one against another.

    Attributes:
        target: The target's number.
        measured: The values of each side, round by round.
        limit: Of subject / reference.
        unit: Of the values.
    """

    target: int
    measured: Measured
    limit: Limit | None
    unit: str = "s"

    def figure(self, name: str, reading: str, subject: str, reference: str) -> Figure:
        """The ratio of two sides, round by round."""
        above, below = self.measured[subject], self.measured[reference]
        return Figure(
            self.target,
            name,
            reading,
            ratios(above, below),
            limit=self.limit,
            note=f"{_short(middle(above))} and {_short(middle(below))} {self.unit}",
        )


def middle(values: Iterable[float]) -> float:
    """The median."""
    return statistics.median(values)


def share_within(values: Iterable[float], share: float) -> float:
    """The value that such a share of all values does not exceed: 0.99 for the 99th percentile."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def seconds_of(work: Callable[[], object]) -> float:
    """How long a piece of work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def tell(words: str) -> None:
    """Say on stderr how far it is."""
    sys.stderr.write(f"  {words}\n")
    sys.stderr.flush()
