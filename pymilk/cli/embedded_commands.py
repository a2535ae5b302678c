"""`pymilk db …`: the embedded Postgres of a project."""

import typer

from pymilk.cli.answers import agree, done
from pymilk.cli.options import HERE, AsJson, ProjectFolder, Yes
from pymilk.cli.render import say

db = typer.Typer(
    help="The embedded Postgres of this project.", no_args_is_help=True, rich_markup_mode=None
)


@db.command("start")
def db_start(project: ProjectFolder = HERE, as_json: AsJson = False) -> None:
    """Start the embedded database; on its first day it gets the baseline and the demo dairy.

    Example: pymilk db start
    """
    from pymilk.cli.opening import start_embedded
    from pymilk.project.project import load_project

    url = start_embedded(load_project(project)).url()
    done(as_json, f"Running: {url}", {"url": url})


@db.command("stop")
def db_stop(project: ProjectFolder = HERE, as_json: AsJson = False) -> None:
    """Stop the embedded database; its data stay.

    Example: pymilk db stop
    """
    from pymilk.cli.opening import embedded_server
    from pymilk.project.project import load_project

    embedded_server(load_project(project)).stop()
    done(as_json, "Stopped; its data stay.", {"stopped": True})


@db.command("url")
def db_url_(project: ProjectFolder = HERE) -> None:
    """Print the embedded database's URL, for psql and others; starts it when it isn't running.

    Example: psql "$(pymilk db url)"
    """
    from pymilk.cli.opening import start_embedded
    from pymilk.project.project import load_project

    say(start_embedded(load_project(project)).url())


@db.command("reset")
def db_reset(project: ProjectFolder = HERE, yes: Yes = False, as_json: AsJson = False) -> None:
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
