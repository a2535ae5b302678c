"""`pymilk new`: the files of one migration, under one stem; no database is opened."""

from typing import Annotated

import typer

from pymilk.cli.options import HERE, AsJson, ProjectFolder
from pymilk.cli.render import say, say_json


def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What it does, in lower-case words joined by _.")
    ],
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
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
