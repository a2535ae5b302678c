"""The change that is under way, so that an interruption can say what became of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pymilk.database.connection import Target
    from pymilk.project.migrations import Migration

_changes: list["tuple[Target, Migration]"] = []
# What came to its end: a report of it may fail after.
_ended: list["tuple[Target, Migration]"] = []


@contextmanager
def under_way(target: "Target", migration: "Migration") -> Iterator[None]:
    """A change of a target, from here to the end of the block; one that failed stays known."""
    _changes.append((target, migration))
    yield
    _ended.append(_changes.pop())


def state_of_the_change(otherwise: str = "Nothing was changed.") -> str:
    """What became of the change that is under way, or was the last; asked over a new connection.

    Args:
        otherwise: What is said where there was none.
    """
    known = _changes or _ended
    if not known:
        return otherwise
    from pymilk.deploy.change.transaction import standing

    target, migration = known[-1]
    return standing(target, migration.version)
