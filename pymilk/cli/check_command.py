"""`pymilk check`: is everything true that must always be true?"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pymilk.cli import options
from pymilk.cli.render import say, say_json
from pymilk.problem import Problem

if TYPE_CHECKING:
    from pymilk.deploy.health.invariants import Checked, Invariant

_SOMETHING_TO_DO = 3


@click.command
@click.option(
    "--rows",
    type=click.IntRange(min=0),
    default=5,
    metavar="N",
    help="How many rows of each are shown.",
)
@options.db_url
@options.project
@options.policy
@options.as_json
def check(
    *, rows: int, db_url: str | None, project: Path, policy: str | None, as_json: bool
) -> None:
    """Run the queries of sql/invariants in one snapshot; exit code 3 when a row violates one.

    One that can't be run is a failure (exit code 1); the others are shown all the same.

    Example: pymilk check --json
    """
    from pymilk.cli.opening import open_project
    from pymilk.deploy.health.invariants import check as check_now

    opened = open_project(project, db_url, policy)
    found = check_now(opened.target, opened.project.invariants)
    if as_json:
        say_json(_document(opened.target.label, found, rows))
    else:
        say(opened.target.label, *_text(found, rows))
    if found.failed:
        raise Problem(
            f"{len(found.failed)} of {len(found.invariants)} invariants can't be run:"
            + "".join(f"\n    {each.failure}" for each in found.failed),
            state="Nothing was changed: a check only reads. The others are shown above.",
            todo="Mend the query; what it should have seen is not checked until then.",
        )
    if found.violated:
        raise click.exceptions.Exit(_SOMETHING_TO_DO)


def _document(label: str, found: "Checked", rows: int) -> dict[str, object]:
    return {
        "database": label,
        "at": found.at,
        "seconds": found.held_seconds,
        "invariants": [
            {
                **vars(each),
                "rows": len(each.rows),
                "examples": [dict(zip(each.columns, row, strict=True)) for row in each.rows[:rows]],
            }
            for each in found.invariants
        ],
    }


def _text(found: "Checked", rows: int) -> Iterator[str]:
    for each in found.invariants:
        yield from _invariant(each, rows)
    good = sum(not each.rows and not each.failure for each in found.invariants)
    yield (
        f"  {good} of {len(found.invariants)} invariants hold, in one snapshot of"
        f" {found.at:%Y-%m-%d %H:%M:%S} UTC, held for {found.held_seconds:.2f} s"
    )


def _invariant(each: "Invariant", rows: int) -> Iterator[str]:
    if each.failure:
        yield f"  ! {each.name:<38} can't be run"
        return
    count = f"{len(each.rows):,} row{'' if len(each.rows) == 1 else 's'}"
    yield f"  {'✗' if each.rows else '✓'} {each.name:<38} {count:>10} {each.seconds * 1e3:>7.1f} ms"
    if not each.rows:
        return
    yield f"      {each.means}"
    if each.todo:
        yield f"      To do: {each.todo}"
    if rows:
        yield f"      {', '.join(each.columns)}"
    yield from (f"        {', '.join(row)}" for row in each.rows[:rows])
    if len(each.rows) > rows:
        yield f"        and {len(each.rows) - rows:,} more (--rows N shows N)"
