"""`pymilk adopt`: take a live database into care."""

from typing import TYPE_CHECKING

from pymilk.cli.answers import agree, done
from pymilk.cli.options import (
    HERE,
    AsJson,
    DbUrl,
    Overrides,
    PolicyName,
    ProjectFolder,
    Yes,
)

if TYPE_CHECKING:
    from pymilk.deploy.survey.adopt import Adopted


def adopt(
    db_url: DbUrl = None,
    project: ProjectFolder = HERE,
    policy: PolicyName = None,
    override: Overrides = None,
    as_json: AsJson = False,
    yes: Yes = False,
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
