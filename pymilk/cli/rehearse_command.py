"""`pymilk rehearse`: the proof alone, on a restored copy."""

import sys

from pymilk.cli.answers import done
from pymilk.cli.options import (
    HERE,
    AsJson,
    DbUrl,
    Name,
    Overrides,
    PolicyName,
    ProjectFolder,
)
from pymilk.cli.render import plan_text, say, say_json


def rehearse(
    name: Name = None,
    db_url: DbUrl = None,
    project: ProjectFolder = HERE,
    policy: PolicyName = None,
    override: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Back up, restore, and rehearse a migration on the copy; the live data only get read.

    Example: pymilk rehearse 001
    """
    from pymilk.cli.opening import (
        migration_to_deploy,
        nothing_pending,
        open_project,
        parse_overrides,
        plan_for,
    )
    from pymilk.cli.progress import LineProgress
    from pymilk.deploy.pipeline import rehearse as run_rehearsal

    overrides = parse_overrides(override)
    opened = open_project(project, db_url, policy)
    migration = migration_to_deploy(opened, name)
    if migration is None:
        done(as_json, nothing_pending(opened), {"rehearsed": None})
        return
    plan = plan_for(opened, migration, overrides)
    if not as_json:
        say(*plan_text(plan))
    evidence = run_rehearsal(plan, LineProgress(sys.stderr if as_json else None))
    if as_json:
        say_json({"rehearsed": migration.stem, "evidence": evidence})
    else:
        say("", f"{migration.label} is rehearsed: pymilk deploy {migration.argument}")
