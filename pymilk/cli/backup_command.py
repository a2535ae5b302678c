"""`pymilk backup`: a backup by itself, before something is done by hand, or every night."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pymilk.cli import options
from pymilk.cli.render import say, say_json

if TYPE_CHECKING:
    from pymilk.deploy.backup.backup import Taken


@click.command
@click.option(
    "--critical", is_flag=True, help="Export the tables named in pyproject.toml as CSV, too."
)
@options.db_url
@options.project
@options.policy
@options.as_json
def backup(
    *, critical: bool, db_url: str | None, project: Path, policy: str | None, as_json: bool
) -> None:
    """Take a backup of the project's schemas, with fingerprints from the same moment.

    The database is only read. It need not be adopted.

    Example: pymilk backup --critical
    """
    from pymilk.cli.meter import meter_on
    from pymilk.cli.opening import open_project
    from pymilk.database.programs import find_programs
    from pymilk.deploy.backup.backup import back_up

    opened = open_project(project, db_url, policy)
    taken = back_up(
        opened.project,
        opened.target,
        find_programs(),
        critical=opened.project.critical if critical else (),
        meter=meter_on(sys.stderr if as_json else sys.stdout),
    )
    if as_json:
        say_json(_facts(taken))
    else:
        say(*_text(opened.target.label, taken))


def _facts(taken: "Taken") -> dict[str, object]:
    backup = taken.backup
    return {
        "folder": backup.folder,
        "taken_at": backup.taken_at,
        "taken_from": backup.taken_from,
        "tables": {name: found.rows for name, found in backup.contents.items()},
        "rows": backup.rows,
        "bytes": backup.bytes,
        "critical": backup.critical,
        "missing": taken.missing,
        "not_included": backup.left_out,
        "removed": taken.removed,
        "unrecorded": taken.unrecorded or None,
    }


def _text(label: str, taken: "Taken") -> list[str]:
    backup = taken.backup
    size = f"{backup.rows:,} rows in {len(backup.contents)} tables, {backup.bytes / 1e6:.1f} MB"
    lines = [f"Backed up {label}: {size}.", f"  {backup.folder}"]
    if taken.previous:
        lines.append(f"  the one before: {taken.previous:%Y-%m-%d %H:%M} UTC")
    lines += [f"  as CSV: {table}, {rows:,} rows" for table, rows in backup.critical.items()]
    lines += [f"  not there, so not exported: {name}" for name in taken.missing]
    lines += [f"  removed, by the policy: {name}" for name in taken.removed]
    if taken.unrecorded:
        lines.append(f"  not in the ledger: {taken.unrecorded}")
    lines.append("Not in it:")
    lines += [f"  {sentence}" for sentence in backup.left_out]
    lines.append("Nobody knows whether it can be restored until it was:  pymilk restore-test")
    return lines
