"""`pymilk deploy`: one migration, with everything proven."""

import sys
from typing import TYPE_CHECKING

from pymilk.cli.answers import agree, done
from pymilk.cli.options import (
    HERE,
    AsJson,
    DbUrl,
    Name,
    Overrides,
    PolicyName,
    ProjectFolder,
    Yes,
)
from pymilk.cli.render import deployed_text, plan_text, say, say_json
from pymilk.cli.under_way import under_way

if TYPE_CHECKING:
    from pymilk.cli.opening import Opened
    from pymilk.project.migrations import Migration


def deploy(
    name: Name = None,
    db_url: DbUrl = None,
    project: ProjectFolder = HERE,
    policy: PolicyName = None,
    override: Overrides = None,
    as_json: AsJson = False,
    yes: Yes = False,
) -> None:
    """Deploy a migration with everything proven; without a name, the oldest pending.

    Example: pymilk deploy 001
    """
    from pymilk.cli.opening import (
        migration_to_deploy,
        nothing_pending,
        open_project,
        parse_overrides,
        plan_for,
    )
    from pymilk.cli.progress import LineProgress
    from pymilk.deploy.pipeline import deploy as run_pipeline

    overrides = parse_overrides(override)
    opened = open_project(project, db_url, policy)
    migration = migration_to_deploy(opened, name)
    if migration is None:
        done(as_json, nothing_pending(opened), {"deployed": None})
        return
    if _already(opened, migration, as_json=as_json):
        return
    plan = plan_for(opened, migration, overrides)
    if not as_json:
        say(*plan_text(plan))
    agree(plan.policy.ask, yes, f"Deploy {migration.label}?")
    with under_way(opened.target, migration):
        evidence = run_pipeline(plan, LineProgress(sys.stderr if as_json else None))
    if evidence is None:
        _already(opened, migration, as_json=as_json)
    elif as_json:
        say_json({"deployed": migration.stem, "evidence": evidence})
    else:
        say(*deployed_text(plan, evidence))


def _already(opened: "Opened", migration: "Migration", *, as_json: bool) -> bool:
    """Whether it is applied already, as the file says it; then there is nothing to do."""
    from pymilk.deploy.status import Standing, read_status

    row = read_status(opened.target.url, opened.project).find(migration.version)
    if row.standing is not Standing.APPLIED:
        return False
    when = f" since {row.at:%Y-%m-%d %H:%M} UTC, by {row.person}" if row.at else ""
    done(
        as_json,
        f"{migration.label} is deployed already{when}; nothing to do."
        f" To undo it: pymilk rollback {migration.argument}",
        {"deployed": migration.stem, "already": True},
    )
    return True
