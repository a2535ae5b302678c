"""Chance that falls the same way on every machine and in every version of Python."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, TypeVar
from uuid import UUID, uuid5

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

NAMESPACE: Final = UUID("6d696c6b-0000-5000-8000-000000000000")


class Dice:
    """One stream of decisions, named, so that changing one part of the dairy moves no other.

    Only `random.random()` is used: of `random`'s methods it alone is promised to give the same
    sequence for the same seed in later versions of Python.
    """

    def __init__(self, seed: int, stream: str) -> None:
        self._random = random.Random(f"{seed}/{stream}")  # noqa: S311 - a demo, not a secret

    def below(self, limit: int) -> int:
        """A whole number from 0 to limit - 1."""
        return int(self._random.random() * limit)

    def happens(self, probability: float) -> bool:
        """True with this probability (0..1)."""
        return self._random.random() < probability

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, each as likely."""
        return options[self.below(len(options))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """The items in another order; the sequence itself stays as it is."""
        left = list(items)
        return [left.pop(self.below(len(left))) for _ in items]


def identity(seed: int, table: str, number: int) -> UUID:
    """The id of a table's row number `number`, counted from 0."""
    return uuid5(NAMESPACE, f"{seed}/{table}/{number}")


def derived(parent: UUID, name: str) -> UUID:
    """The id of what belongs to a row: the order of a subscription on a day, its delivery."""
    return uuid5(parent, name)
