"""`pymilk history`: what was done to the database, by whom, on what proof."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pymilk.cli import options
from pymilk.cli.render import say, say_json

if TYPE_CHECKING:
    from pymilk.database.ledger import Entry
    from pymilk.deploy.basis.past import Told


@click.command
@click.argument(
    "number",
    type=int,
    required=False,
    metavar="[ID]",
    help="One event, with everything known of it.",
)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="With the backups and rehearsals that proved a deploy.",
)
@options.db_url
@options.project
@options.policy
@options.as_json
def history(
    *,
    number: int | None,
    everything: bool,
    db_url: str | None,
    project: Path,
    policy: str | None,
    as_json: bool,
) -> None:
    """Show what was done to the database, by whom, from where, and on what proof.

    Example: pymilk history 12
    """
    from pymilk.cli.opening import open_project
    from pymilk.deploy.basis.past import read_past, tell, without_proofs

    opened = open_project(project, db_url, policy)
    url, label = opened.target.url, opened.target.label
    if number is not None:
        told = tell(url, number)
        if as_json:
            evidence = {each.id: each.evidence for each in (told.entry, *told.run)}
            say_json({"database": label, **vars(told), "evidence": evidence})
        else:
            say(*_told_text(told))
        return
    entries = read_past(url)
    shown = entries if everything else without_proofs(entries)
    if as_json:
        say_json({"database": label, "events": shown})
    else:
        say(label, *(_line(entry) for entry in shown))
        if not shown:
            say("  The ledger is empty: pymilk has done nothing here yet.")


def _line(entry: "Entry") -> str:
    tried = entry.kind == "attempt"
    what = str(entry.evidence.get("of")) if tried else str(entry.kind)
    what += "" if entry.outcome == "done" else f", {entry.outcome}"
    about = entry.name or (str(entry.evidence.get("text", "")) if entry.kind == "note" else "")
    if entry.answers is not None:
        about = f"answers {entry.answers}: {about}"
    when = f"{entry.happened_at:%Y-%m-%d %H:%M:%S} UTC"
    by = str(entry.evidence.get("by", entry.person)) if tried else entry.person
    line = f"  {entry.id:>4}  {when}  {what:<20} {about}  by {by}"
    why = str(entry.evidence.get("why", "")) if tried else ""
    return f"{line}\n        {why.splitlines()[0]}" if why else line


def _told_text(told: "Told") -> Iterator[str]:
    entry = told.entry
    yield f"{entry.id}: {entry.kind} {f'{entry.version}_{entry.name}' if entry.version else ''}"
    yield from _facts(
        {
            "outcome": entry.outcome,
            "when": f"{entry.happened_at:%Y-%m-%d %H:%M:%S} UTC",
            "who": f"{entry.person}, as {entry.database_role}",
            "from": entry.client_address or "this machine or a local socket",
            "with": f"pymilk {entry.tool}" if entry.tool else None,
            "git revision": entry.revision,
            "checksum": entry.checksum,
            "plan": entry.plan_hash,
            "step": entry.step,
            "answers": entry.answers,
            "answered by": told.answer and f"{told.answer.id}: {told.answer.evidence.get('text')}",
        }
    )
    if told.schema is not None:
        yield "  schema"
        yield from (f"    {line}" for line in told.schema.sentences(200))
        if not told.schema:
            yield "    unchanged"
    yield from _facts(entry.evidence)
    for other in told.run:
        yield f"  {other.kind} ({other.id}, {other.happened_at:%H:%M:%S} UTC)"
        yield from (f"  {line}" for line in _facts(other.evidence))


# What is kept for the way back, or can be asked for with --json: too long for a line.
_LONG = frozenset({"rollback_script", "made", "state_before", "state_after", "state", "violating"})


def _facts(facts: Mapping[str, Any], indent: str = "  ") -> Iterator[str]:
    for name, value in facts.items():
        if value in (None, "", [], {}) or name in _LONG:
            continue
        if isinstance(value, Mapping):
            yield f"{indent}{name}"
            yield from _facts(value, indent + "  ")
        else:
            shown = ", ".join(str(each) for each in value) if isinstance(value, list) else value
            yield f"{indent}{name:<18} {shown}"
