"""Show how far a backup or a restore has come: a bar on a terminal, a few lines in a log."""

import time
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pymilk.database.meter import Meter

# Seconds between two lines of a log.
_QUIET = 15.0


def meter_on(stream: TextIO) -> Meter:
    """A bar with the time that is left where somebody looks on, lines otherwise."""
    console = Console(file=stream, highlight=False, soft_wrap=True)
    return BarMeter(console) if console.is_terminal else LineMeter(stream)


class BarMeter:
    """A bar, the share that is done, and the time that is left."""

    watched = True

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: tuple[Progress, TaskID] | None = None

    def begin(self, phase: str, total: int) -> None:
        """Show a new bar."""
        progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._shown = progress, progress.add_task(phase, total=total or None)
        progress.start()

    def reach(self, done: int) -> None:
        """Move it."""
        if self._shown is not None:
            progress, task = self._shown
            progress.update(task, completed=done)

    def end(self) -> None:
        """Take it away."""
        if self._shown is not None:
            self._shown[0].stop()
            self._shown = None


class LineMeter:
    """A line when a phase has ended, and every now and then while it goes on."""

    watched = True

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._phase = ""
        self._total = 0
        self._began = self._told = 0.0

    def begin(self, phase: str, total: int) -> None:
        """Remember when it began."""
        self._phase, self._total = phase, total
        self._began = self._told = time.monotonic()

    def reach(self, done: int) -> None:
        """Say how far it is, if it has not been said just now."""
        now = time.monotonic()
        if self._total and done and now - self._told >= _QUIET:
            self._told = now
            share = min(done / self._total, 1.0)
            left = (now - self._began) * (1 - share) / share
            self._say(f"  {self._phase}: {share:.0%}, about {left:.0f} s left")

    def end(self) -> None:
        """Say how long it took."""
        self._say(f"  {self._phase}: {time.monotonic() - self._began:.1f} s")

    def _say(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()
