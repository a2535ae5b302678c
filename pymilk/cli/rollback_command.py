"""`pymilk rollback`: take a migration back, without losing a row."""

from pathlib import Path

import click

from pymilk.cli import options
from pymilk.cli.answers import agree, done
from pymilk.cli.render import (
    rolled_back_text,
    say,
    say_json,
    undoings_question,
    undoings_text,
)
from pymilk.cli.under_way import under_way


@click.command
@options.name
@click.option(
    "--archive", is_flag=True, help="Keep rows that would go; the next deploy gives them back."
)
@click.option(
    "--mended",
    is_flag=True,
    help="Use the file as it is now, not the text rehearsed at the deploy.",
)
@options.db_url
@options.project
@options.policy
@options.override
@options.as_json
@options.yes
def rollback(
    *,
    name: str | None,
    archive: bool,
    mended: bool,
    db_url: str | None,
    project: Path,
    policy: str | None,
    override: tuple[str, ...],
    as_json: bool,
    yes: bool,
) -> None:
    """Undo a deployed migration without losing a row; without a name, the newest.

    Those that came after it go first, each in a transaction of its own; all of it is shown before.

    Example: pymilk rollback 001
    """
    from pymilk.cli.opening import (
        migration_to_roll_back,
        open_project,
        parse_overrides,
        plan_for,
    )
    from pymilk.deploy.foreseen import foresee, refuse_losses, roll_back_each
    from pymilk.deploy.survey.status import Standing

    overrides = parse_overrides(override)
    opened = open_project(project, db_url, policy)
    migration = migration_to_roll_back(opened, name)
    row = next(row for row in opened.rows if row.version == migration.version)
    if row.standing is Standing.HELD:
        done(
            as_json,
            f"{migration.label} is rolled back already ({row.at:%Y-%m-%d %H:%M} UTC by"
            f" {row.person}); nothing to do.",
            {"rolled_back": migration.stem, "already": True},
        )
        return
    undoings = foresee(opened.target, opened.project, migration)
    if not archive:
        refuse_losses(undoings, migration)
    plans = tuple(plan_for(opened, undoing.migration, overrides) for undoing in undoings)
    ask = plans[-1].policy.ask
    if not as_json or (ask and not yes):  # whoever is asked sees what it is about
        say(*undoings_text(opened.target.label, undoings), aside=as_json)
    agree(ask, yes, undoings_question(undoings))
    results = []
    going = roll_back_each(plans, archive=archive, mended=mended)
    for plan in plans:
        with under_way(opened.target, plan.migration):
            _, result = next(going)
        results.append(result)
        if not as_json:
            say(*rolled_back_text(plan, result))
    if as_json:
        before_it = {
            plan.migration.stem: result for plan, result in zip(plans, results, strict=True)
        }
        named = before_it.pop(migration.stem)
        say_json({"rolled_back": migration.stem, "result": named, "before_it": before_it})
