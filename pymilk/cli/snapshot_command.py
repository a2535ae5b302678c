"""`pymilk snapshot`: function files into migrations. Works on files; no database is opened."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pymilk.cli import options
from pymilk.cli.render import findings_text, say, say_json, snapshot_text
from pymilk.problem import UsageProblem

if TYPE_CHECKING:
    from pymilk.project.project import Project

_WAITING = 3


@click.command
@click.argument("name", required=False, help="A migration; one that isn't there yet is made.")
@click.argument(
    "paths",
    nargs=-1,
    type=click.Path(path_type=Path),
    metavar="[FILE]...",
    help="Function files; without any, all that differ.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Write nothing; say what isn't quoted as it is (exit code 3), or quoted wrong (1).",
)
@options.project
@options.as_json
def snapshot(
    *, name: str | None, paths: tuple[Path, ...], check: bool, project: Path, as_json: bool
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
    taken = take_snapshot(found, name, paths)
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
        raise click.exceptions.Exit(1 if wrong else _WAITING)
