"""`pymilk lint`: every rule for a project's files. Works on files and a scratch server."""

from pathlib import Path

import click

from pymilk.cli import options
from pymilk.cli.render import say, say_json


@click.command
@options.project
@options.as_json
def lint(*, project: Path, as_json: bool) -> None:
    """Check the project's SQL: names, pairs, order, transactions, functions; exit 1 on findings.

    Functions are compiled by Postgres itself, on a scratch server. squawk and sqlfluff are run
    where they are installed and the project has set them up. What only pymilk asks for is asked
    for where pyproject.toml says [tool.pymilk] functions = "…".

    Example: pymilk lint --json
    """
    from pymilk.deploy.survey.lint import lint as run_lint
    from pymilk.project.project import load_project

    looked = run_lint(load_project(project))
    if as_json:
        say_json(looked)
    else:
        say(*(str(finding) for finding in looked.found))
        say(*(f"note: {note}" for note in looked.notes))
        say(f"{len(looked.found)} finding(s)." if looked.found else "Nothing found.")
    if looked.found:
        raise click.exceptions.Exit(1)
