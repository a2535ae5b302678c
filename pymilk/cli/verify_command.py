"""`pymilk verify`: the canary of what is deployed."""

from pymilk.cli.answers import done
from pymilk.cli.options import HERE, AsJson, DbUrl, Name, PolicyName, ProjectFolder


def verify(
    name: Name = None,
    db_url: DbUrl = None,
    project: ProjectFolder = HERE,
    policy: PolicyName = None,
    as_json: AsJson = False,
) -> None:
    """Run a deployed migration's canary, and undo what it did; without a name, the newest's.

    Example: pymilk verify 001
    """
    from pymilk.cli.opening import migration_to_roll_back, open_project
    from pymilk.deploy.change.verify import verify_now

    opened = open_project(project, db_url, policy)
    migration = migration_to_roll_back(opened, name)
    seconds = verify_now(opened.target, migration)
    done(
        as_json,
        f"{migration.label} is in effect: its canary passed in {seconds:.2f} s, and left nothing.",
        {"verified": migration.stem, "seconds": seconds},
    )
