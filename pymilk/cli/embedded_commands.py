"""`pymilk db …`: the embedded Postgres of a project."""

from pathlib import Path

import click

from pymilk.cli import options
from pymilk.cli.answers import agree, done
from pymilk.cli.in_order import InOrder
from pymilk.cli.render import say


@click.group(cls=InOrder)
def db() -> None:
    """The embedded Postgres of this project."""


@db.command("start")
@options.project
@options.as_json
def db_start(*, project: Path, as_json: bool) -> None:
    """Start the embedded database; on its first day it gets the baseline and the demo dairy.

    Example: pymilk db start
    """
    from pymilk.cli.opening import start_embedded
    from pymilk.project.project import load_project

    url = start_embedded(load_project(project)).url()
    done(as_json, f"Running: {url}", {"url": url})


@db.command("stop")
@options.project
@options.as_json
def db_stop(*, project: Path, as_json: bool) -> None:
    """Stop the embedded database; its data stay.

    Example: pymilk db stop
    """
    from pymilk.cli.opening import embedded_server
    from pymilk.project.project import load_project

    embedded_server(load_project(project)).stop()
    done(as_json, "Stopped; its data stay.", {"stopped": True})


@db.command("url")
@options.project
def db_url_(*, project: Path) -> None:
    """Print the embedded database's URL, for psql and others; starts it when it isn't running.

    Example: psql "$(pymilk db url)"
    """
    from pymilk.cli.opening import start_embedded
    from pymilk.project.project import load_project

    say(start_embedded(load_project(project)).url())


@db.command("reset")
@options.project
@options.yes
@options.as_json
def db_reset(*, project: Path, yes: bool, as_json: bool) -> None:
    """Delete the embedded database and make it anew, as on the dairy's first day.

    Example: pymilk db reset --yes
    """
    from pymilk.cli.opening import embedded_server, start_embedded
    from pymilk.project.project import load_project

    found = load_project(project)
    agree(True, yes, "Delete everything in the embedded database?")
    embedded_server(found).destroy()
    url = start_embedded(found).url()
    done(as_json, f"As on the first day: {url}", {"url": url})
