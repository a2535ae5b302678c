"""The change that is under way, so that an interruption can say what became of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pymilk.database.connection import Target
    from pymilk.project.migrations import Migration

_changes: list["tuple[Target, Migration]"] = []


@contextmanager
def under_way(target: "Target", migration: "Migration") -> Iterator[None]:
    """A change of a target, from here to the end of the block; one that failed stays known."""
    _changes.append((target, migration))
    yield
    _changes.pop()


def state_of_the_change() -> str:
    """What became of the change that was under way, asked over a new connection."""
    if not _changes:
        return "Nothing was changed."
    from pymilk.deploy.change.transaction import standing

    target, migration = _changes[-1]
    return standing(target, migration.version)
