"""`pymilk snapshot`: function files into migrations. Works on files; no database is opened."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pymilk.cli.options import HERE, AsJson, ProjectFolder
from pymilk.cli.render import findings_text, say, say_json, snapshot_text
from pymilk.problem import UsageProblem

if TYPE_CHECKING:
    from pymilk.project.project import Project

_WAITING = 3


def snapshot(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="A migration; one that isn't there yet is made."),
    ] = None,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE", help="Function files; without any, all that differ.", show_default=False
        ),
    ] = None,
    check: bool = typer.Option(
        False,
        "--check",
        help="Write nothing; say what isn't quoted as it is (exit code 3), or quoted wrong (1).",
    ),
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """Quote function files into a migration, and what they replace into its rollback.

    A migration that is deployed stays as it is: give the change a new name.

    Example: pymilk snapshot gap_012_pay_bill_atomic
    """
    from pymilk.project.project import load_project
    from pymilk.project.snapshot import take_snapshot

    found = load_project(project)
    if check:
        if name is not None:
            raise UsageProblem(
                "--check looks at every migration; it takes no name.",
                state="No file was written.",
                todo="pymilk snapshot --check",
            )
        _check(found, as_json=as_json)
        return
    if name is None:
        raise UsageProblem(
            "Into which migration?",
            state="No file was written.",
            todo="Name it: pymilk snapshot gap_012_pay_bill_atomic; or look: --check.",
        )
    taken = take_snapshot(found, name, paths or ())
    if as_json:
        say_json(taken)
    else:
        say(*snapshot_text(taken))


def _check(project: "Project", *, as_json: bool) -> None:
    from pymilk.project.snapshot_check import Kind, check_quotations

    findings = check_quotations(project)
    if as_json:
        say_json({"findings": findings})
    else:
        say(*findings_text(findings))
    if findings:
        wrong = any(finding.kind is Kind.WRONG for finding in findings)
        raise typer.Exit(1 if wrong else _WAITING)
