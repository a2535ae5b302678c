"""`pymilk verify`: the canary of what is deployed."""

from pathlib import Path

import click

from pymilk.cli import options
from pymilk.cli.answers import done


@click.command
@options.name
@options.db_url
@options.project
@options.policy
@options.as_json
def verify(
    *, name: str | None, db_url: str | None, project: Path, policy: str | None, as_json: bool
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
