"""`pymilk status`: where every migration stands."""

from pathlib import Path

import click

from pymilk.cli import options
from pymilk.cli.render import say, say_json, status_text


@click.command
@options.db_url
@options.project
@options.policy
@options.as_json
def status(*, db_url: str | None, project: Path, policy: str | None, as_json: bool) -> None:
    """Show what is applied, pending, edited or held, and what runs right now.

    Example: pymilk status --json
    """
    from pymilk.cli.opening import open_project
    from pymilk.deploy.survey.status import read_status

    opened = open_project(project, db_url, policy)
    found = read_status(opened.target.url, opened.project)
    if as_json:
        say_json({"database": opened.target.label, "status": found})
    else:
        say(*status_text(opened.target.label, found))
