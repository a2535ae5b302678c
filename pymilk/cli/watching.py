"""Show a watch: a table that moves on a terminal, a line a sample in a log."""

import errno
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pymilk.cli.durations import in_words
from pymilk.cli.render import plain
from pymilk.deploy.basis.sample import Sample
from pymilk.deploy.health.samples import between
from pymilk.deploy.watch.breach import Breach
from pymilk.deploy.watch.watch import Began, Ended, Happening, Lost, Seen


class WatchView:
    """What happens, as it happens.

    On a terminal the newest sample stands in a table that is written over; what has to stay is
    written above it. Where the terminal is lost the lines of a log follow.

    Args:
        needed_seconds: For how long it is to be watched; none for one sample.
        to_stderr: Whether stdout is somebody else's.
    """

    def __init__(self, needed_seconds: float | None, *, to_stderr: bool = False) -> None:
        self._needed = needed_seconds
        self._stream = sys.stderr if to_stderr else sys.stdout
        self._console = Console(file=self._stream, highlight=False, soft_wrap=True)
        self._live: Live | None = None
        self._title = ""
        self._lacking: dict[str, str] = {}

    def show(self, happenings: Iterable[Happening]) -> Happening | None:
        """Show all of it, to the end; gives what came last."""
        last: Happening | None = None
        try:
            for last in happenings:
                with _while_the_terminal_goes():
                    self._show(last)
        finally:
            with _while_the_terminal_goes():
                self._stop()
        return last

    def _show(self, happening: Happening) -> None:
        if isinstance(happening, Began):
            self._title = f"watching {happening.before.label}"
            self._say(self._title)
            if happening.watched_seconds:
                told = in_words(happening.watched_seconds)
                self._say(f"  it goes on from the ledger: watched for {told} so far")
        elif isinstance(happening, Seen):
            self._seen(happening)
        elif isinstance(happening, Lost):
            self._say(f"  ! no sample: {happening.why} (it is tried again)", "yellow")
        elif isinstance(happening, Ended):
            self._say(f"  the watch ends: {happening.why}")

    def _seen(self, seen: Seen) -> None:
        sample = seen.taken.sample
        missing = {name: why for name, why in sample.lacking.items() if name not in self._lacking}
        self._lacking |= missing
        if missing:
            told = "; ".join(f"{name} ({why})" for name, why in missing.items())
            self._say(f"  not to be seen here: {told}")
        for warning in sample.warnings:
            self._say(f"  ! {warning}", "yellow")
        for why in sample.failed.values():
            self._say(f"  ! can't be read: {why}", "yellow")
        if seen.breach is not None:
            self._breach(seen.breach)
        if self._is_terminal() and self._needed is not None:
            self._table(seen)
        else:
            self._say(f"  {log_line(seen, self._needed)}")

    def _breach(self, breach: Breach) -> None:
        for line in breach.lines:
            self._say(f"  ✗ broken, and held before the deploy: {line}", "red")
        self._say(f"    {breach.then}")
        if breach.command:
            self._say(f"    the command to be told by failed ({breach.command})", "yellow")

    def _table(self, seen: Seen) -> None:
        if self._live is None:
            self._live = Live(
                console=self._console,
                auto_refresh=False,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        self._live.update(table_of(seen, self._needed), refresh=True)

    def _say(self, line: str, style: str = "") -> None:
        if self._is_terminal():
            self._console.print(Text(line, style))
            return
        if self._live is not None:
            self._stop()
            self._stream.write("\n")
        self._stream.write(f"{line}\n")
        self._stream.flush()

    def _is_terminal(self) -> bool:
        return self._console.is_terminal and self._stream.isatty()

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


@contextmanager
def _while_the_terminal_goes() -> Iterator[None]:
    """Let a line go that is written between the terminal's end and our hearing of it."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO:
            raise


def write_json_lines(happenings: Iterable[Happening]) -> Happening | None:
    """Each sample as one JSON document on a line of its own; gives what came last."""
    last: Happening | None = None
    for last in happenings:
        if isinstance(last, Seen):
            sys.stdout.write(json.dumps(plain(_document(last)), ensure_ascii=False) + "\n")
            sys.stdout.flush()
        elif isinstance(last, Lost | Ended):
            sys.stderr.write(f"{last.why}\n")
    return last


def _document(seen: Seen) -> dict[str, object]:
    breach = seen.breach
    return {
        "sample": seen.taken.id,
        "deploy": seen.taken.deploy,
        "watched_seconds": seen.watched_seconds,
        **vars(seen.taken.sample),
        "breach": breach and {"lines": breach.lines, "then": breach.then, "told": breach.command},
    }


def log_line(seen: Seen, needed: float | None) -> str:
    """One sample on one line."""
    parts = "; ".join(part for _, part in _parts(seen))
    watched = in_words(seen.watched_seconds)
    of = f" of {in_words(needed)}" if needed is not None else ""
    return f"{_clock(seen.taken.taken_at)}  {parts}; watched {watched}{of}"


def table_of(seen: Seen, needed: float | None) -> Table:
    """One sample as a table."""
    table = Table.grid(padding=(0, 2))
    for name, part in _parts(seen):
        told = part.removeprefix(name).lstrip(": ")
        table.add_row(Text(f"  {name}", "dim"), Text(told))
    watched = in_words(seen.watched_seconds)
    of = f" of {in_words(needed)}" if needed is not None else ""
    told = f"{watched}{of}, last looked at {_clock(seen.taken.taken_at)}"
    table.add_row(Text("  watched", "dim"), Text(told))
    return table


def _parts(seen: Seen) -> Iterator[tuple[str, str]]:
    sample = seen.taken.sample
    yield "invariants", _invariants(sample)
    yield from _activity(seen)
    waits = sample.waits
    yield (
        "lock waits",
        f"{waits.sessions} wait(s) for a lock, up to {waits.longest_seconds:.1f} s"
        if waits.sessions
        else "nobody waits for a lock",
    )
    for name, seconds in sample.times.items():
        before = sample.times_before.get(name)
        was = f" (before {before * 1e3:.0f})" if before is not None else ""
        yield name, f"{name} {seconds * 1e3:.0f} ms{was}"


def _invariants(sample: Sample) -> str:
    read = len(sample.invariants)
    standing = sum(not found.new for found in sample.broken)
    told = f"{read - len(sample.broken)} of {read} invariants hold ({sample.held_seconds:.2f} s)"
    if standing:
        told += f", {standing} broken since before"
    if sample.passing:
        told += f", {len(sample.passing)} violation(s) passed by"
    return told


def _activity(seen: Seen) -> Iterator[tuple[str, str]]:
    sample = seen.taken.sample
    earlier = seen.previous.sample if seen.previous else None
    counted = between(earlier.activity, sample.activity) if earlier else None
    if counted is not None:
        total = counted.commits + counted.rollbacks
        told = f"{counted.rollbacks} of {total} transactions rolled back"
        if counted.deadlocks:
            told += f", {counted.deadlocks} deadlock(s)"
        if counted.statements and counted.statement_seconds is not None:
            mean = counted.statement_seconds / counted.statements * 1e3
            told += f", {counted.statements} statements of {mean:.2f} ms"
        yield "transactions", told
    counted_before = earlier.outcomes if earlier else {}
    for query, found in sample.outcomes.items():
        yield query, f"{query}: {_reported(found, counted_before.get(query))}"


def _reported(found: Mapping[str, int], before: Mapping[str, int] | None) -> str:
    """What clients have reported since the sample before; without one, so far."""
    if before is None:
        return ", ".join(f"{what} {count} so far" for what, count in found.items()) or "nothing"
    new = {what: count - before.get(what, 0) for what, count in found.items()}
    return (
        ", ".join(f"{what} +{count}" for what, count in new.items() if count > 0) or "nothing new"
    )


def _clock(moment: datetime) -> str:
    return f"{moment:%H:%M:%S} UTC"
