"""`pymilk new`: the files of one migration, under one stem; no database is opened."""

from pathlib import Path

import click

from pymilk.cli import options
from pymilk.cli.render import say, say_json


@click.command
@click.argument("name", help="What it does, in lower-case words joined by _.")
@options.project
@options.as_json
def new(*, name: str, project: Path, as_json: bool) -> None:
    """Make the files of a new migration: itself, its rollback, its verification, its page.

    For a change of functions, `pymilk snapshot NAME` makes them and fills them from the function
    files.

    Example: pymilk new gap_012_pay_bill_atomic
    """
    from datetime import UTC, datetime

    from pymilk.project.new_migration import scaffold
    from pymilk.project.project import load_project

    written = scaffold(load_project(project), name, datetime.now(UTC))
    if as_json:
        say_json({"written": written})
    else:
        say(*written, f"Fill them in, then: pymilk rehearse {name}")
