"""`pymilk rollback`: take a migration back, without losing a row."""

import typer

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
from pymilk.cli.render import rolled_back_text, say, say_json
from pymilk.cli.under_way import under_way


def rollback(
    name: Name = None,
    archive: bool = typer.Option(
        False, "--archive", help="Keep rows that would go; the next deploy gives them back."
    ),
    mended: bool = typer.Option(
        False, "--mended", help="Use the file as it is now, not the text rehearsed at the deploy."
    ),
    db_url: DbUrl = None,
    project: ProjectFolder = HERE,
    policy: PolicyName = None,
    override: Overrides = None,
    as_json: AsJson = False,
    yes: Yes = False,
) -> None:
    """Undo a deployed migration without losing a row; without a name, the newest.

    Example: pymilk rollback 001
    """
    from pymilk.cli.opening import (
        migration_to_roll_back,
        open_project,
        parse_overrides,
        plan_for,
    )
    from pymilk.deploy.rollback import roll_back
    from pymilk.deploy.status import Standing, read_status

    overrides = parse_overrides(override)
    opened = open_project(project, db_url, policy)
    migration = migration_to_roll_back(opened, name)
    row = read_status(opened.target.url, opened.project).find(migration.version)
    if row.standing is Standing.HELD:
        done(
            as_json,
            f"{migration.label} is rolled back already ({row.at:%Y-%m-%d %H:%M} UTC by"
            f" {row.person}); nothing to do.",
            {"rolled_back": migration.stem, "already": True},
        )
        return
    plan = plan_for(opened, migration, overrides)
    agree(plan.policy.ask, yes, f"Roll back {migration.label} on {opened.target.label}?")
    with under_way(opened.target, migration):
        result = roll_back(plan, archive=archive, mended=mended)
    if as_json:
        say_json({"rolled_back": migration.stem, "result": result})
    else:
        say(*rolled_back_text(plan, result))
