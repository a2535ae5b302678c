"""`pymilk adopt`: take a live database into care."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pymilk.cli import options
from pymilk.cli.answers import agree, done

if TYPE_CHECKING:
    from pymilk.deploy.survey.adopt import Adopted


@click.command
@options.db_url
@options.project
@options.policy
@options.override
@options.as_json
@options.yes
def adopt(
    *,
    db_url: str | None,
    project: Path,
    policy: str | None,
    override: tuple[str, ...],
    as_json: bool,
    yes: bool,
) -> None:
    """Take a live database into care: compare it with the files, and mark what it has.

    Without migrations here, its schema is written down as the first one. Nothing else changes.

    Example: pymilk adopt --db-url postgresql://postgres:…@db.….supabase.co:5432/postgres
    """
    from pymilk.cli.opening import open_project, parse_overrides
    from pymilk.deploy.survey.adopt import adopt as run_adopt

    overrides = parse_overrides(override)
    opened = open_project(project, db_url, policy)
    rules = opened.project.policy(opened.target.preset)
    agree(rules.ask, yes, f"Compare {opened.target.label} with the files, and mark what it has?")
    adopted = run_adopt(opened.project, opened.target, rules, overrides.get("drift"))
    done(as_json, _sentence(adopted), {"adopted": adopted})


def _sentence(adopted: "Adopted") -> str:
    if adopted.version is None:
        return (
            "Adopted: the database is empty, so nothing was marked as applied; only the ledger was"
            " begun. Next, the first migration: pymilk deploy (or pymilk new NAME, to write it)."
        )
    written = f" {adopted.written} says what is live: commit it." if adopted.written else ""
    marked = (
        f"{', '.join(adopted.marked)} marked as applied"
        if adopted.marked
        else f"the history is right up to {adopted.version}_{adopted.name}"
    )
    return (
        f"Adopted: {adopted.objects} objects compared, {marked}; no table was touched.{written}"
        + (f" Accepted: {', '.join(adopted.differences)}." if adopted.differences else "")
    )
