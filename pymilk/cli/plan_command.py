"""`pymilk plan`: what a deploy would do now, with nothing done."""

from pathlib import Path

import click

from pymilk.cli import options
from pymilk.cli.answers import done
from pymilk.cli.deploy_command import already_deployed
from pymilk.cli.render import say, say_json
from pymilk.cli.render_plan import calendar_text, preview_text

_PENDING = 3


@click.command
@options.name
@options.db_url
@options.project
@options.policy
@options.override
@options.copy
@options.copy_url
@click.option("--calendar", is_flag=True, help="When what is pending can be deployed, and no more.")
@options.as_json
def plan(
    *,
    name: str | None,
    db_url: str | None,
    project: Path,
    policy: str | None,
    override: tuple[str, ...],
    copy: str | None,
    copy_url: str | None,
    calendar: bool,
    as_json: bool,
) -> None:
    """Show what a deploy would do now, and what would stop it; nothing is done, nothing proven.

    Exit code 3 when something is pending, 0 when nothing is. Example: pymilk plan --calendar
    """
    from pymilk.cli.opening import (
        copy_at,
        migrations_to_deploy,
        nothing_pending,
        open_project,
        parse_overrides,
        plan_for,
    )
    from pymilk.deploy.health.calendar import read_calendar
    from pymilk.deploy.preview import preview

    overrides = parse_overrides(override)
    opened = open_project(project, db_url, policy)
    place = copy_at(opened.project, copy, copy_url)
    pending = migrations_to_deploy(opened, name)
    if not pending:
        done(as_json, nothing_pending(opened), {"pending": [], "misnamed": opened.project.misnamed})
        return
    if calendar:
        slots = read_calendar(opened.target, opened.project.policy(opened.target.preset), pending)
        if as_json:
            say_json({"pending": [one.stem for one in pending], "calendar": slots})
        else:
            say(*calendar_text(slots))
        raise click.exceptions.Exit(_PENDING)
    first, *later = pending
    if already_deployed(opened, first, as_json=as_json):
        return
    asked = plan_for(opened, first, overrides, place)
    found = preview(asked, tuple(one.label for one in later))
    if as_json:
        say_json({"pending": [found.migration, *found.later], "plan": found})
    else:
        say(*preview_text(found))
    raise click.exceptions.Exit(_PENDING)
