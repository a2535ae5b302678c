"""Show a pipeline run: a moving line on a terminal, plain lines in a log."""

import sys
from collections.abc import Callable
from typing import TextIO

from pymilk.deploy.evidence import Evidence, Verdict


class LineProgress:
    """A line when a step has ended, and the details that matter under it.

    On a terminal the step that is running shows while it runs.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._terminal = self._stream.isatty()

    def started(self, step: str) -> None:
        """Show the step that is running; only a terminal can take the line back."""
        if self._terminal:
            self._stream.write(f"  … {step}")
            self._stream.flush()

    def stopped(self, step: str) -> None:
        """Mark the step that ended the run."""
        if self._terminal:
            self._stream.write("\r\x1b[2K")
        self._stream.write(f"  ✗ {step}\n")
        self._stream.flush()

    def finished(self, step: str, seconds: float, evidence: Evidence) -> None:
        """Write what the step found."""
        if self._terminal:
            self._stream.write("\r\x1b[2K")
        lines = _TOLD[step](evidence)
        self._stream.write(f"  ✓ {step:<13} {lines[0]} ({seconds:.1f} s)\n")
        for line in lines[1:]:
            self._stream.write(f"    {'':<13} {line}\n")
        self._stream.flush()


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
        f"the one before it: {previous:%Y-%m-%d %H:%M} UTC" if previous else "the first one here",
    ]


def _restore_test(evidence: Evidence) -> list[str]:
    if evidence.restore_test is None:
        return [""]
    tested = evidence.restore_test
    return [
        f"{tested.rows:,} rows in {tested.tables} tables came back equal, and so did the schema",
        f"to be back after a loss takes {tested.seconds:.1f} s on this machine",
    ]


def _rehearsal(evidence: Evidence) -> list[str]:
    if evidence.rehearsal is None:
        return [""]
    found = evidence.rehearsal
    lines = [f"deployed on the copy in {found.up_seconds:.2f} s, verified"]
    if found.down_seconds is not None:
        lines.append(
            f"rolled back in {found.down_seconds:.2f} s: schema and rows exactly as before;"
            " deployed again: the same"
        )
    strong = [table for table, mode in found.locks.items() if mode == "AccessExclusiveLock"]
    lines.append(f"locks out readers of: {', '.join(strong) or 'no existing table'}")
    if found.changed_tables:
        lines.append(f"changes rows of: {', '.join(found.changed_tables)}")
    return lines


def _apply(evidence: Evidence) -> list[str]:
    if evidence.applied is None:
        return [""]
    applied = evidence.applied
    lines = [f"committed; open for {applied.seconds:.2f} s, attempt {applied.attempts}"]
    lines += [
        f"{count} violation(s) of {name} were there before and still are"
        for name, count in applied.standing_violations.items()
    ]
    lines += [
        f"given back to {table}: {rows} row(s) kept by an earlier rollback"
        for table, rows in applied.given_back.items()
    ]
    return lines


def _after(evidence: Evidence) -> list[str]:
    if evidence.after is None or evidence.after.canary_seconds is None:
        return ["nothing to verify"]
    return ["the canary ran on the live database as the API's roles, and left nothing"]


_TOLD: dict[str, Callable[[Evidence], list[str]]] = {
    "preflight": _preflight,
    "backup": _backup,
    "restore test": _restore_test,
    "rehearsal": _rehearsal,
    "apply": _apply,
    "after": _after,
}
