"""`pymilk adopt`: take a live database into care."""

from contextlib import ExitStack

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
from pymilk.cli.under_way import under_way


def adopt(
    db_url: DbUrl = None,
    project: ProjectFolder = HERE,
    policy: PolicyName = None,
    override: Overrides = None,
    as_json: AsJson = False,
    yes: Yes = False,
) -> None:
    """Take a database into care that has tables and no history: compare it, mark the baseline.

    Example: pymilk adopt --db-url postgresql://postgres:…@db.….supabase.co:5432/postgres
    """
    from pymilk.cli.opening import open_project, parse_overrides
    from pymilk.deploy.adopt import adopt as run_adopt

    overrides = parse_overrides(override)
    opened = open_project(project, db_url, policy)
    rules = opened.project.policy(opened.target.preset)
    agree(rules.ask, yes, f"Mark the baseline as applied on {opened.target.label}?")
    with ExitStack() as stack:
        for baseline in opened.project.migrations[:1]:
            stack.enter_context(under_way(opened.target, baseline))
        adopted = run_adopt(opened.project, opened.target, rules, overrides.get("drift"))
    done(
        as_json,
        f"Adopted: {adopted.objects} objects compared, {adopted.version}_{adopted.name} marked as"
        " applied; no table was touched.",
        {"adopted": adopted},
    )
