"""`pymilk report`: what happened, or how the books stand, as a page that anybody can read."""

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pymilk.cli import options
from pymilk.cli.render import say
from pymilk.problem import Problem, UsageProblem

if TYPE_CHECKING:
    from pymilk.cli.opening import Opened
    from pymilk.report.page import Format

_NEEDED = ("jinja2", "babel", "vl_convert")
_STDOUT = "-"


@click.command
@click.argument(
    "deployment",
    required=False,
    help="A gap (001), a version, or a name: its newest deployment, or rehearsal where it"
    " was never deployed. Without it, whatever was deployed last.",
)
@click.option(
    "--event", type=int, metavar="ID", help="An older one, by its number in 'pymilk history --all'."
)
@click.option("--books", is_flag=True, help="How the books stand now, instead of a deployment.")
@click.option(
    "--format",
    "written_as",
    default="html",
    metavar="html|md",
    help="A page, or Markdown for a pull request.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where to write it; - is stdout, and where Markdown goes by itself. A page goes"
    " into .pymilk/reports.",
)
@options.db_url
@options.project
@options.policy
def report(
    *,
    deployment: str | None,
    event: int | None,
    books: bool,
    written_as: str,
    output: Path | None,
    db_url: str | None,
    project: Path,
    policy: str | None,
) -> None:
    """Write what was deployed, on what proof, and how it is to be taken back, as one page.

    The page needs no network and no program but a browser; it tells of customers' money.

    Example: pymilk report 001
    """
    _refuse_without_libraries()
    from pymilk.cli.opening import open_project, refuse_together
    from pymilk.report.page import Format

    refuse_together({"DEPLOYMENT": deployment, "--event": event, "--books": books})
    if written_as not in set(Format):
        raise UsageProblem(
            f"A report can't be written as '{written_as}'.",
            state="No database was touched.",
            todo=f"It is one of: {', '.join(Format)}.",
        )
    form = Format(written_as)
    opened = open_project(project, db_url, policy)
    name, text = _books(opened, form) if books else _deployment(opened, deployment, event, form)
    if str(output) == _STDOUT or (output is None and form is Format.MARKDOWN):
        sys.stdout.write(text)
        return
    path = output or _folder(opened) / f"{name}.{form}"
    _write(path, text)
    say(f"The report is in {path}")


def _deployment(
    opened: "Opened", name: str | None, event: int | None, form: "Format"
) -> tuple[str, str]:
    from pymilk.report.deployment import read_deployment
    from pymilk.report.page import deployment_page
    from pymilk.report.wording import wording_of

    wording = wording_of(opened.project)
    seen = read_deployment(opened.target, opened.project, name, event)
    stem = f"{seen.entry.version}_{seen.entry.name}_{seen.entry.id}"
    return stem, deployment_page(seen, opened.project, wording, form)


def _books(opened: "Opened", form: "Format") -> tuple[str, str]:
    from pymilk.report.books import read_books
    from pymilk.report.page import books_page
    from pymilk.report.wording import wording_of

    wording = wording_of(opened.project)
    found = read_books(opened.target, opened.project, wording)
    return f"books_{found.at:%Y%m%dT%H%M%SZ}", books_page(found, wording, form)


def _folder(opened: "Opened") -> Path:
    folder = opened.project.make_workspace() / "reports" / opened.target.folder_name
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _write(path: Path, text: str) -> None:
    """Write it, for its owner's eyes: it tells of customers."""
    try:
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Problem(
            f"The report can't be written to {path}: {error.strerror}.",
            state="Nothing was changed in the database.",
            todo="Name another file: --output FILE.",
        ) from error


def _refuse_without_libraries() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise Problem(
            f"Reports need what is not installed here: {', '.join(missing)}.",
            state="Nothing was changed.",
            todo="pip install 'pymilk[report]'   (in a clone of pymilk: make setup)",
        )
