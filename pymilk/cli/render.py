"""Results as text for a person and as JSON for a program."""

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from pymilk.problem import Problem

if TYPE_CHECKING:
    from pymilk.deploy.basis.evidence import Applied, Evidence, Watched
    from pymilk.deploy.basis.plan import Plan
    from pymilk.deploy.change.rollback import RolledBack
    from pymilk.deploy.foreseen import Undoing
    from pymilk.deploy.survey.status import Status
    from pymilk.project.snapshot import Snapshot
    from pymilk.project.snapshot_check import Finding


def say(*lines: str, aside: bool = False) -> None:
    """Lines for a person.

    Args:
        lines: Without their ends.
        aside: On stderr, where stdout holds what a program reads.
    """
    stream = sys.stderr if aside else sys.stdout
    stream.write("".join(f"{line}\n" for line in lines))
    stream.flush()


def say_json(value: object) -> None:
    """One JSON document."""
    sys.stdout.write(json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def plain(value: object) -> object:
    """A value as JSON can hold it; a schema becomes its fingerprint."""
    from pymilk.database.catalog import Catalog

    if isinstance(value, Catalog):
        return value.fingerprint
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if field.repr
        }
    if isinstance(value, Mapping):
        return {str(key): plain(found) for key, found in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(found) for found in value]
    if value is None or isinstance(value, int | float | str | bool):
        return value
    return value.isoformat() if isinstance(value, datetime) else str(value)


def problem_text(problem: Problem) -> str:
    """A problem as three short lines."""
    lines = [f"✗ {problem.happened}"]
    if problem.state:
        lines.append(f"  State: {problem.state}")
    if problem.todo:
        lines.append(f"  To do: {problem.todo}")
    return "\n".join(lines) + "\n"


def plan_text(plan: "Plan") -> list[str]:
    """What a deploy is about to do."""
    return [f"{plan.migration.label} → {plan.target.label}, policy {plan.target.preset}"]


def deployed_text(plan: "Plan", evidence: "Evidence") -> list[str]:
    """The end of a deploy: before and after side by side, and the way back."""
    applied, watched = evidence.applied, evidence.after
    if applied is None or watched is None:
        return []
    argument = plan.migration.argument
    return [
        "",
        *_side_by_side(applied, watched),
        "",
        f"{plan.migration.label} is deployed.",
        f"  To undo it:  pymilk rollback {argument}"
        + (f"   (make rollback-gap GAP={plan.migration.gap})" if plan.migration.gap else ""),
        "  Watch:       pymilk watch --for 24h; to record a complaint: pymilk note",
    ]


def _side_by_side(applied: "Applied", watched: "Watched") -> list[str]:
    lines = [f"  {'':<34}{'before':>14}{'after':>14}"]
    for table in sorted({*applied.rows_before, *watched.rows_after}):
        before, after = applied.rows_before.get(table), watched.rows_after.get(table)
        lines.append(f"  {table:<34}{_count(before):>14}{_count(after):>14}")
    for query, found in watched.state_after.items():
        before_all = applied.state_before.get(query, {})
        same = sum(before_all.get(key) == figures for key, figures in found.items())
        if len(found) > _FEW:
            lines.append(f"  {query}: {same:,} of {len(found):,} unchanged")
            continue
        lines += [
            f"  {key:<34}{', '.join(before_all.get(key, ('-',))):>14}{', '.join(figures):>14}"
            for key, figures in found.items()
        ]
    return lines


_FEW = 20


def _count(rows: int | None) -> str:
    return "-" if rows is None else f"{rows:,}"


def undoings_text(label: str, undoings: "Sequence[Undoing]") -> list[str]:
    """What a rollback is about to do, in the order in which it does it."""
    lines = [f"To be rolled back on {label}, in this order:"]
    for undoing in undoings:
        lines.append(f"  {undoing.migration.label}  {undoing.migration.stem}")
        lines += [f"    goes: {function}" for function in undoing.functions]
        lines += [f"    the app may still call it: {call}" for call in undoing.calls.seen[:5]]
        lines += [f"    into the archive: {loss}" for loss in undoing.losses]
    unseen = dict.fromkeys(words for undoing in undoings for words in undoing.calls.unseen)
    if unseen:
        lines.append(f"  Of calls, not everything can be seen: {'; '.join(unseen)}.")
    return lines


def undoings_question(undoings: "Sequence[Undoing]") -> str:
    """What a person is asked before."""
    labels = ", ".join(undoing.migration.label for undoing in undoings)
    if any(undoing.functions for undoing in undoings):
        return f"Has the app been changed back, so that it calls none of these? Roll back {labels}?"
    return f"Roll back {labels}?"


def rolled_back_text(plan: "Plan", result: "RolledBack") -> list[str]:
    """The end of a rollback."""
    from pymilk.database.row_types import WHO_IS_REFUSED

    lines = [
        f"{plan.migration.label} is rolled back, in {result.seconds:.2f} s.",
        f"  The schema is the one recorded before the deploy ({result.objects} objects compared).",
        "  Every row is there as it was; nobody owes more or less."
        if not result.kept
        else "  Every other row is there as it was; nobody owes more or less.",
    ]
    lines += [f"  Kept in the archive: {loss}" for loss in result.kept]
    lines += [f"  Left as changed by hand: {name}" for name in result.drift]
    lines += [
        f"  Not compared, for it can't be read both with the migration and without: {why}"
        for why in result.uncompared
    ]
    lines += [f"  Gone, the app must not call it: {name}" for name in result.functions_gone]
    if result.reshaped:
        lines.append(f"  Columns as before again: {', '.join(result.reshaped)}; {WHO_IS_REFUSED}")
    lines += [
        "  It is held: 'supabase db push' would apply it again; pymilk only when it is named:",
        f"  pymilk deploy {plan.migration.argument}",
    ]
    return lines


def status_text(label: str, status: "Status") -> list[str]:
    """Every migration's line."""
    from pymilk.project.migrations import about_misnamed

    lines = [label]
    for row in status.rows:
        when = f"  {row.at:%Y-%m-%d %H:%M} UTC by {row.person}" if row.at else ""
        lines.append(f"  {row.version} {row.name:<38} {row.half or row.standing}{when}")
    if status.running:
        lines.append(f"  running now: {status.running}")
    if status.unfinished:
        half = any(row.half for row in status.rows)
        came = "did not come to its end" if half else "changed nothing"
        lines.append(f"  the last run {came}: {status.unfinished}")
    lines += [f"  unanswered: {note}" for note in status.notes]
    if status.misnamed:
        lines.append(f"  {about_misnamed(status.misnamed)}")
    restored = status.restore_tested_at
    lines.append(
        f"  restore last proven: {restored:%Y-%m-%d %H:%M} UTC"
        if restored
        else "  restore: never proven; every deploy proves it"
    )
    return lines


def snapshot_text(taken: "Snapshot") -> list[str]:
    """What a snapshot wrote."""
    lines = [f"{taken.migration}:"]
    lines += [f"  quoted   {path}" for path in taken.quoted]
    lines += [f"  dropped  the function of {path}, which is gone" for path in taken.gone]
    lines += [f"  written  {path}" for path in taken.written]
    if not taken.written:
        lines = ["Every function is quoted as it is; nothing was written."]
    lines += [
        f"Left alone: {path}, which a later migration quotes: pymilk snapshot"
        f" {stem.partition('_')[0]}"
        for path, stem in taken.later.items()
    ]
    return lines


def findings_text(findings: "Sequence[Finding]") -> list[str]:
    """What is not quoted as it should be."""
    lines = [f"✗ {finding.file}: {finding.found}." for finding in findings]
    if any(finding.kind == "waits" for finding in findings):
        lines.append("  To do: pymilk snapshot NAME, with a new name or an undeployed migration's.")
    if any(finding.kind == "wrong" for finding in findings):
        lines.append(
            "  To do: pymilk snapshot NAME writes a rollback's blocks anew; a quotation that was"
            " edited is"
        )
        lines.append("  put right in its file, or taken back.")
    return lines or ["Every function file is quoted as it is, and every rollback undoes it."]


def answer_text(answer: object) -> list[str]:
    """What a function answered: a line a column, or a line a row."""
    found = plain(answer)
    if isinstance(found, dict):
        return [f"{name}: {_cell(each)}" for name, each in found.items()]
    if isinstance(found, list):
        rows = [
            ", ".join(f"{name}: {_cell(each)}" for name, each in row.items())
            if isinstance(row, dict)
            else _cell(row)
            for row in found
        ]
        return [*rows, f"{len(rows)} row{'' if len(rows) == 1 else 's'}."]
    return ["Done." if found is None else _cell(found)]


def _cell(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
