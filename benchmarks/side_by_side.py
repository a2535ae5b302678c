"""Measuring side by side: a subject and its references in turns, ratios of the same round.

A round runs every side once, each round in another order. A ratio is taken within a round, where
the machine was the same for both; what is told is the median of these ratios, and the lowest and
the highest. So two figures from different minutes are never compared, and a neighbour who takes
half of the processor shows as spread.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

T = TypeVar("T")

Side = Callable[[], float]
"""Runs once; its figure in the unit of the row: seconds, or calls a second."""


class Effort(Enum):
    """How much is measured."""

    FULL = "full"
    """For figures: the sizes of the targets, several rounds."""

    QUICK = "quick"
    """To see that the bench works: small, two rounds; its figures mean nothing."""

    def choose(self, full: T, quick: T) -> T:
        """A size, a duration or a number of rounds."""
        return full if self is Effort.FULL else quick


@dataclass(frozen=True)
class Spread:
    """What several rounds gave.

    Attributes:
        median: The one to quote.
        lowest: Of all rounds.
        highest: Of all rounds.
    """

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> "Spread":
        """Of the figures of one or more rounds."""
        return cls(statistics.median(figures), min(figures), max(figures))


@dataclass(frozen=True)
class Target:
    """What a row's ratio (its figure, where it has no reference) has to be.

    Attributes:
        limit: The number.
        at_least: Whether the figure must be this or more; otherwise this or less.
    """

    limit: float
    at_least: bool

    def holds(self, figure: float) -> bool:
        """Whether a figure reaches it."""
        return figure >= self.limit if self.at_least else figure <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}"


def at_least(limit: float) -> Target:
    """This or more."""
    return Target(limit, at_least=True)


def at_most(limit: float) -> Target:
    """This or less."""
    return Target(limit, at_least=False)


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: What was measured.
        unit: Of both figures: "/s", "s", "ms", or "" for a plain number.
        subject: Its figures.
        against: What it was compared with; empty where it was compared with nothing.
        reference: The figures of that.
        ratio: Subject to reference, round by round.
        target: What the ratio, or the figure where there is no reference, has to be; None where
            a figure is only told.
        note: What one has to know to read it.
    """

    name: str
    unit: str
    subject: Spread
    against: str = ""
    reference: Spread | None = None
    ratio: Spread | None = None
    target: Target | None = None
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.target is None:
            return None
        return self.target.holds((self.ratio or self.subject).median)


@dataclass(frozen=True)
class Rounds:
    """What the sides gave, round by round.

    Attributes:
        figures: Name of a side → its figures, in the order of the rounds.
        unit: Of all of them.
    """

    figures: Mapping[str, Sequence[float]]
    unit: str

    def ratio(
        self,
        subject: str,
        reference: str,
        target: Target | None = None,
        *,
        name: str | None = None,
        note: str = "",
    ) -> Row:
        """The row of one side against another.

        Args:
            subject: A side's name.
            reference: Another's.
            target: Of subject to reference.
            name: Of the row; the subject's unless given.
            note: What one has to know to read it.
        """
        ours, theirs = self.figures[subject], self.figures[reference]
        return Row(
            name=name or subject,
            unit=self.unit,
            subject=Spread.of(ours),
            against=reference,
            reference=Spread.of(theirs),
            ratio=Spread.of([a / b for a, b in zip(ours, theirs, strict=True)]),
            target=target,
            note=note,
        )

    def alone(self, subject: str, target: Target | None = None, *, note: str = "") -> Row:
        """The row of one side by itself: a target in seconds, or a figure to be told."""
        return Row(
            name=subject,
            unit=self.unit,
            subject=Spread.of(self.figures[subject]),
            target=target,
            note=note,
        )


def alternate(sides: Mapping[str, Side], *, rounds: int, unit: str) -> Rounds:
    """Run the sides in turns.

    Each round begins with the side after the one that the last round began with: whoever always
    comes first would always meet the colder cache.

    Args:
        sides: Name → what to run.
        rounds: How often; an odd number has a true median.
        unit: Of the figures: "/s", "s", "ms".
    """
    names = list(sides)
    figures: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            figures[name].append(sides[name]())
    return Rounds(figures, unit)
