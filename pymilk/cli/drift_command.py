"""`pymilk drift`: does the live schema say what the files say?"""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pymilk.cli import options
from pymilk.cli.render import say, say_json

if TYPE_CHECKING:
    from pymilk.deploy.survey.drift import Drift, Moved

_SOMETHING_TO_DO = 3


@click.command
@click.option(
    "--names", "names_only", is_flag=True, help="The objects' names, without their differences."
)
@options.db_url
@options.project
@options.policy
@options.as_json
def drift(
    *, names_only: bool, db_url: str | None, project: Path, policy: str | None, as_json: bool
) -> None:
    """Compare the live schema with what the files make; exit code 3 when they drifted apart.

    The files are replayed on a scratch server. What waits to be deployed is listed; it is no drift.

    Example: pymilk drift --names
    """
    from pymilk.cli.opening import open_project
    from pymilk.deploy.survey.drift import find_drift

    opened = open_project(project, db_url, policy)
    found = find_drift(opened.project, opened.target)
    if as_json:
        document = {"database": opened.target.label, "drift": bool(found.found)}
        say_json({**document, **vars(found)})
    else:
        say(opened.target.label, *_text(found, names_only=names_only))
    if found.found:
        raise click.exceptions.Exit(_SOMETHING_TO_DO)


def _text(found: "Drift", *, names_only: bool) -> Iterator[str]:
    # What waits is shown in full by its file and its rehearsal.
    for (side, file), moved in groupby(found.moved, lambda each: (each.side, each.file)):
        yield f"  {side}{f' ({file})' if file else ''}"
        for each in moved:
            yield from _object(each, text=not names_only and each.is_drift)
    yield from (f"  note: {note}" for note in found.notes)
    if found.found:
        yield f"  {len(found.found)} of {found.objects} objects drifted apart."
        yield "  To do: take each change back, or put it into a new migration (pymilk new NAME)."
    else:
        yield f"  No drift: {found.objects} objects compared."


def _object(moved: "Moved", *, text: bool) -> Iterator[str]:
    accepted = f"  (accepted: {moved.accepted})" if moved.accepted else ""
    yield f"    {moved.how} {moved.name}{accepted}"
    if text:
        yield from (f"        {line}" for line in moved.text.splitlines()[2:])
