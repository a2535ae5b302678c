"""Plans and drills as text for a person."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymilk.deploy.calendar import Slot
    from pymilk.deploy.drill import Drill
    from pymilk.deploy.preview import Preview

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
    if found.later:
        lines.append(f"pending after it: {', '.join(found.later)}")
    if not found.ready:
        lines.append("A deploy would be refused now.")
    return lines


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
