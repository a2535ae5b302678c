"""Being told how far a long piece of work has come."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

# Seconds between two looks at the work of others.
_PAUSE = 1.0


class Meter(Protocol):
    """Whoever watches: a terminal, a log, nobody."""

    @property
    def watched(self) -> bool:
        """Whether anybody watches: looking costs the server a query a second."""

    def begin(self, phase: str, total: int) -> None:
        """A phase begins; `total` units of work are ahead, 0 where nobody can tell."""

    def reach(self, done: int) -> None:
        """So many of its units are done."""

    def end(self) -> None:
        """The phase is over, or given up."""


class Unwatched:
    """Nobody watches."""

    watched = False

    def begin(self, phase: str, total: int) -> None:
        """Nothing is shown."""

    def reach(self, done: int) -> None:
        """Nothing is shown."""

    def end(self) -> None:
        """Nothing is shown."""


UNWATCHED = Unwatched()


@contextmanager
def phase(meter: Meter, name: str, total: int = 0) -> Iterator[None]:
    """A phase of work, of so many units; 0 where nobody can tell."""
    meter.begin(name, total)
    try:
        yield
    finally:
        meter.end()


@contextmanager
def looking_every_second(meter: Meter, look: Callable[[], int]) -> Iterator[None]:
    """While the block works, ask how many units are done, in a thread of its own.

    Args:
        meter: Who is told.
        look: Asks; what it can't find out (an error) is not shown any more.
    """
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_PAUSE):
            try:
                meter.reach(look())
            except Exception:  # noqa: BLE001 - a display is no reason to stop a backup
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
