"""Plans and drills as text for a person."""

from typing import TYPE_CHECKING

from pymilk.project.migrations import about_misnamed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymilk.deploy.basis.evidence import StatementRun
    from pymilk.deploy.health.calendar import Slot
    from pymilk.deploy.preview import Preview
    from pymilk.deploy.rehearsal.drill import Drill

# How a check came out → its mark.
_MARKS = {"passed": "✓", "noted": "·", "overridden": "!", "failed": "✗"}


def preview_text(found: "Preview") -> list[str]:
    """What a deploy would do, and what would stop it."""
    lines = [f"{found.label} → {found.target}, policy {found.policy}"]
    lines += [f"  {path}" for path in found.files]
    lines.append("checks, as of now:")
    for check in found.checks:
        lines.append(f"  {_MARKS[check.verdict]} {check.name:<13} {check.found}")
        if check.reason:
            lines.append(f"  {'':<15} overridden: {check.reason}")
        if check.verdict == "failed":
            lines.append(f"  {'':<15} to do: {check.todo}")
    newest = f"{found.backup_at:%Y-%m-%d %H:%M} UTC" if found.backup_at else "never taken"
    lines.append(f"then: {', '.join(found.steps[1:])}")
    lines.append(f"  backup        to {found.backups}; the newest so far: {newest}")
    lines.append(f"  rehearsal     on a restored copy ({found.copy})")
    if found.rehearsed is None:
        lines.append("                it was never rehearsed as it is now")
    else:
        last = found.rehearsed
        lines.append(
            f"                last {last.at:%Y-%m-%d %H:%M} UTC: {last.up_seconds:.2f} s, keeping"
            f" readers or writers waiting for {last.strong_lock_seconds:.2f} s"
        )
        felt = [one for one in last.statements if one.held_seconds or one.rewrites or one.unproven]
        lines += statements_text(felt)
        if len(felt) < len(last.statements):
            others = len(last.statements) - len(felt)
            lines.append(f"  {others:,} other statement(s) keep nobody waiting")
    if found.later:
        lines.append(f"pending after it: {', '.join(found.later)}")
    if found.misnamed:
        lines.append(about_misnamed(found.misnamed))
    if not found.ready:
        lines.append("A deploy would be refused now.")
    return lines


def statements_text(statements: "Sequence[StatementRun]") -> list[str]:
    """A table of statements: how long, what each locks and rewrites, and whom that keeps waiting.

    A wait is from the statement to the end of the script, for a lock is held until the commit. The
    locks stand below: each table, and the mode, where it is stronger than what was held before.
    """
    if not statements:
        return []
    lines = [_row("line", "s", "statement", "who waits")]
    for one in statements:
        waits = f"{_WAITS[one.blocks]} {one.held_seconds:.2f} s" if one.held_seconds else ""
        lines.append(_row(str(one.line), f"{one.seconds:.3f}", one.words, waits))
        locks = [f"{_short(name)}: {mode.removesuffix('Lock')}" for name, mode in one.locks.items()]
        rewrites = [f"rewrites {_short(name)}" for name in one.rewrites]
        unproven = [f"reads {name}, of which a copy has the keys alone" for name in one.unproven]
        lines += [f"{'':<{_INDENT}}{each}" for each in (*locks, *rewrites, *unproven)]
    return lines


def _row(line: str, seconds: str, statement: str, waits: str) -> str:
    """One line of the table; of the statement, as much as the eightieth column leaves room for."""
    room = _WORDS if waits else _WORDS + 2 + _WAITING
    shown = statement if len(statement) <= room else f"{statement[: room - 1]}…"
    return f"  {line:>4} {seconds:>8}  {shown:<{_WORDS}}  {waits}".rstrip()


_WORDS, _WAITING = 41, 19
# Under the statement, and two further in; names of tables are never cut.
_INDENT = 19
_WAITS = {
    "nobody": "",
    "writers of the rows that it changes": "row writers",
    "writers": "writers",
    "readers and writers": "everybody",
}


def _short(table: str) -> str:
    return table.removeprefix("public.")


def drill_text(drill: "Drill") -> list[str]:
    """How a drill went."""
    night = drill.night
    unused = [one.label for one in drill.rehearsed if one.down is not None and one.used.unused]
    one_way = [one.label for one in drill.rehearsed if one.down is None]
    went = f"{len(night.rolled_back)} rolled back from the newest on, and deployed again"
    lines = [
        "",
        f"{len(drill.rehearsed)} migration(s) rehearsed on top of {drill.first}; {went}.",
        f"  {night.rows_kept:,} row(s) went into the archive on the way back, and came back.",
        f"  It took {drill.seconds:.0f} s.",
    ]
    if night.rewritten:
        lines.append(f"  Written anew by the migrations themselves: {', '.join(night.rewritten)}")
    if unused:
        lines.append(f"  Not used, for there is no workload: {', '.join(unused)}")
    if one_way:
        lines.append(f"  One way only: {', '.join(one_way)}")
    if night.stays:
        lines.append(f"  It went no further back: {night.stays}.")
    return lines


def calendar_text(slots: "Sequence[Slot]") -> list[str]:
    """One line a migration: when its deploy may begin, and when that window closes."""
    return [
        f"  {slot.begins:%a %Y-%m-%d %H:%M} to {slot.ends:%H:%M} {slot.begins.tzname()}"
        f"  {slot.migration}"
        for slot in slots
    ]
