"""Show a pipeline run: a moving line on a terminal, plain lines in a log."""

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from pymilk.database.platform import KEYS_ALONE
from pymilk.database.row_types import WHO_IS_REFUSED
from pymilk.deploy.basis.evidence import Applied, Blocked, Evidence, Used, Verdict
from pymilk.deploy.change.figures import differing_figures

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

# Text, or text and how it is shown where anything can be.
Part = str | tuple[str, str]


class LineProgress:
    """A line when a step has ended, and the details that matter under it.

    On a terminal the step that is running shows while it runs.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._console = _console_on(self._stream)
        self._running: Status | None = None

    def started(self, step: str) -> None:
        """Show the step that is running; only a terminal can take the line back."""
        if self._console is not None:
            self._running = self._console.status(step)
            self._running.start()

    def stopped(self, step: str) -> None:
        """Mark the step that ended the run."""
        self._end()
        self._write("  ", ("✗", "red"), f" {step}")

    def finished(self, step: str, seconds: float, evidence: Evidence) -> None:
        """Write what the step found."""
        self._end()
        first, *others = _TOLD[step](evidence)
        self._write("  ", ("✓", "green"), f" {step:<13} {first} ", (f"({seconds:.1f} s)", "dim"))
        for line in others:
            self._write(f"{'':<17} {line}")

    def _write(self, *parts: Part) -> None:
        if self._console is None:
            plain = "".join(part if isinstance(part, str) else part[0] for part in parts)
            print(plain, file=self._stream, flush=True)
            return
        from rich.text import Text

        self._console.print(Text.assemble(*parts))

    def _end(self) -> None:
        if self._running is not None:
            self._running.stop()
            self._running = None


def _console_on(stream: TextIO) -> "Console | None":
    """A terminal, if it is one; what draws on it takes a while to load, and a log needs none."""
    if not stream.isatty() and not os.environ.get("FORCE_COLOR"):
        return None
    from rich.console import Console

    return Console(file=stream, highlight=False, soft_wrap=True)


def _preflight(evidence: Evidence) -> list[str]:
    checks = evidence.preflight.checks if evidence.preflight else ()
    passed = sum(check.verdict is Verdict.PASSED for check in checks)
    return [
        f"{passed} of {len(checks)} checks passed",
        *(
            f"{check.verdict} {check.name}: {check.found}"
            + (f" Reason: {check.reason}" if check.reason else "")
            for check in checks
            if check.verdict is not Verdict.PASSED
        ),
    ]


def _backup(evidence: Evidence) -> list[str]:
    if evidence.backup is None:
        return [""]
    backup, previous = evidence.backup.backup, evidence.backup.previous
    rows = sum(contents.rows for contents in backup.contents.values())
    return [
        f"{rows:,} rows in {len(backup.contents)} tables, {backup.bytes / 1e6:.1f} MB",
        str(backup.folder),
        f"the backup before it is from {previous:%Y-%m-%d %H:%M} UTC"
        if previous
        else "the first backup of this database from here",
    ]


def _restore_test(evidence: Evidence) -> list[str]:
    if evidence.restore_test is None:
        return [""]
    tested = evidence.restore_test
    return [
        f"{tested.rows:,} rows in {tested.tables} tables came back equal, and so did the schema",
        f"restoring it took {tested.seconds:.1f} s on this machine",
        *([f"stood in for: {', '.join(tested.stood_in)}"] if tested.stood_in else []),
    ]


def _rehearsal(evidence: Evidence) -> list[str]:
    if evidence.rehearsal is None:
        return [""]
    found = evidence.rehearsal
    verified = "verified" if found.verify_seconds else "not verified"
    lines = [f"{found.label} deployed on the copy in {found.up_seconds:.2f} s, {verified}"]
    if found.down is not None:
        lines.append(
            f"rolled back in {found.down.seconds:.2f} s: schema and rows exactly as before;"
            " deployed again: the same"
        )
    lines += [f"NOT proven to be undone: {each}" for each in found.not_undone]
    lines += [
        f"read for the first time after it, so not compared: {why}"
        for why in found.unread.only_before
    ]
    lines += [
        f"NOT looked at until a later migration makes it: {why}"
        for why in found.unread.after.values()
    ]
    for blocked in (Blocked.EVERYBODY, Blocked.WRITERS, Blocked.ROW_WRITERS):
        held = {table: one for table, one in found.up.locked.items() if one.blocks is blocked}
        if held:
            longest = max(one.seconds for one in held.values())
            lines.append(f"blocks for {longest:.2f} s: {blocked} of {', '.join(held)}")
    if not found.up.strong_lock_seconds:
        lines.append("takes no lock that blocks readers or writers of an existing table")
    lines += [
        f"NOT proven: what line {one.line} makes of {', '.join(one.unproven)}; {KEYS_ALONE}"
        for one in found.up.statements
        if one.unproven
    ]
    lines += _used(found.used)
    if found.changed_tables:
        lines.append(f"changes rows of: {', '.join(found.changed_tables)}")
    if found.reshaped:
        lines.append(f"changes columns of: {', '.join(found.reshaped)}; {WHO_IS_REFUSED}")
    return lines


def _used(used: Used) -> list[str]:
    if used.unused:
        return [f"not used: {used.unused}"]
    by, wrote = len(used.scripts), len(used.tables)
    lines = [f"used as people will, by {by} workload(s) of supabase/use: {wrote} tables written to"]
    if used.down_seconds is not None:
        lines.append(
            f"rolled back with that in place in {used.down_seconds:.2f} s: "
            + (
                "the rows below go to the archive; the next deploy restores them"
                if used.lost
                else "no row is lost"
            )
        )
    lines += [
        f"  {one.kind} {'.'.join((one.table, *one.columns))}: {one.rows:,} row(s)"
        for one in used.lost
    ]
    if used.rewritten:
        lines.append(f"  written anew, so not compared: {', '.join(used.rewritten)}")
    return lines + [
        f"  left in the archive, for newer values stand there: {rows} row(s) of {table}"
        for table, rows in used.left.items()
    ]


def _apply(evidence: Evidence) -> list[str]:
    if evidence.applied is None:
        return [""]
    applied = evidence.applied
    held = f"{applied.locked_seconds:.2f} s"
    lines = [f"committed; its locks were held for {held}, attempt {applied.attempts}"]
    if applied.steps is not None:
        lines = [f"committed in {applied.steps} step(s); each held its locks for {held} at most"]
    lines += [
        f"{count} violation(s) of {name} were there before and still are"
        for name, count in applied.standing_violations.items()
    ]
    lines += [
        f"given back to {table}: {rows} row(s) kept by an earlier rollback"
        for table, rows in applied.given_back.items()
    ]
    lines += [
        f"left in the archive, for newer values stand in their place: {rows} row(s) of {table}"
        for table, rows in applied.left_in_archive.items()
    ]
    return lines


def _after(evidence: Evidence) -> list[str]:
    watched, applied = evidence.after, evidence.applied
    if watched is None or applied is None:
        return [""]
    canary = (
        "the canary ran on the live database as the API's roles, and left nothing"
        if watched.canary_seconds is not None
        else "nothing to verify"
    )
    moved = differing_figures(applied.state_before, watched.state_after)
    if not moved:
        return [canary, "no invariant is broken that held before, and no figure has moved"]
    told = f"no invariant is broken that held before; {len(moved)} figure(s) moved meanwhile"
    return [canary, f"{told}{_whose(applied)}", *moved[:5]]


def _whose(applied: Applied) -> str:
    if applied.steps is not None:
        return "; people are at work between steps, and on the copy no step moved any"
    if applied.compared_inside:
        return ", by others: its own transaction moved none"
    return (
        ", by others: it wrote no rows that they look at, and the rehearsal compared how they are"
        " computed"
    )


_TOLD: dict[str, Callable[[Evidence], list[str]]] = {
    "preflight": _preflight,
    "backup": _backup,
    "restore test": _restore_test,
    "rehearsal": _rehearsal,
    "apply": _apply,
    "after": _after,
}
