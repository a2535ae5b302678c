"""`pymilk rehearse`: the proof alone, on a restored copy."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pymilk.cli import options
from pymilk.cli.answers import done
from pymilk.cli.render import plan_text, say, say_json
from pymilk.cli.render_plan import drill_text, statements_text

if TYPE_CHECKING:
    from pymilk.deploy.basis.evidence import Evidence
    from pymilk.deploy.basis.plan import CopyAt, Plan


@click.command
@options.name
@options.every
@click.option(
    "--backup",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Rehearse on this backup; no database is connected to.",
)
@click.option(
    "--from-baseline",
    is_flag=True,
    help="All migrations both ways on an empty database with the project's demo or seed, and"
    " the rollbacks from the newest on; no other database is touched.",
)
@click.option(
    "--save",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the plan with its evidence, for deploy --plan FILE.",
)
@options.db_url
@options.project
@options.policy
@options.override
@options.copy
@options.copy_url
@options.as_json
def rehearse(
    *,
    name: str | None,
    every: bool,
    backup: Path | None,
    from_baseline: bool,
    save: Path | None,
    db_url: str | None,
    project: Path,
    policy: str | None,
    override: tuple[str, ...],
    copy: str | None,
    copy_url: str | None,
    as_json: bool,
) -> None:
    """Back up, restore, and rehearse a migration on the copy; the live data only get read.

    Example: pymilk rehearse 001
    """
    from pymilk.cli.opening import (
        copy_at,
        migrations_to_deploy,
        nothing_pending,
        open_project,
        parse_overrides,
        plan_for,
        refuse_together,
    )
    from pymilk.cli.progress import LineProgress
    from pymilk.deploy.pipeline import rehearse_all
    from pymilk.project.project import load_project

    refuse_together({"NAME": name, "--all": every, "--from-baseline": from_baseline})
    refuse_together(
        {"--save": save, "--all": every, "--backup": backup, "--from-baseline": from_baseline}
    )
    if from_baseline or backup:
        place = copy_at(load_project(project), copy, copy_url)
        if backup:
            _on_backup(project, backup, name, place, as_json=as_json)
        else:
            _drill(project, place, as_json=as_json)
        return
    overrides = parse_overrides(override)
    opened = open_project(project, db_url, policy)
    place = copy_at(opened.project, copy, copy_url)
    migrations = migrations_to_deploy(opened, name)
    if not migrations:
        done(as_json, nothing_pending(opened), {"rehearsed": None})
        return
    chosen = migrations if every else migrations[:1]
    plans = [plan_for(opened, migration, overrides, place) for migration in chosen]
    if not as_json:
        say(*(line for plan in plans for line in plan_text(plan)))
    found = rehearse_all(plans, LineProgress(sys.stderr if as_json else None))
    if save is not None:
        _save(plans[0], found[0], save)
    if as_json:
        say_json(
            {"rehearsed": [one.migration.stem for one in plans], "evidence": list(found)}
            if every
            else {"rehearsed": plans[0].migration.stem, "evidence": found[0]}
        )
        return
    for plan, evidence in zip(plans, found, strict=True):
        if evidence.rehearsal is not None:
            say("", f"{plan.migration.label}, statement by statement, on the copy's rows:")
            say(*statements_text(evidence.rehearsal.up.statements))
        command = f"pymilk deploy {plan.migration.argument}" if save is None else ""
        command = command or f"pymilk deploy --plan {save}"
        say("", f"{plan.migration.label} is rehearsed: {command}")


def _save(plan: "Plan", evidence: "Evidence", file: Path) -> None:
    """Write down what is to be approved."""
    from pymilk.database.connection import connect
    from pymilk.deploy.approval import approval_of, save_approval

    with connect(plan.target.url, purpose="plan") as connection:
        approval = approval_of(plan, connection, evidence)
    save_approval(approval, file)


def _on_backup(
    folder: Path, backup: Path, name: str | None, place: "CopyAt", *, as_json: bool
) -> None:
    from pymilk.cli.opening import plan_on_backup
    from pymilk.cli.progress import LineProgress
    from pymilk.deploy.pipeline import rehearse_backup

    plan = plan_on_backup(folder, name, place)
    evidence = rehearse_backup(plan, backup, LineProgress(sys.stderr if as_json else None))
    done(
        as_json,
        f"\n{plan.migration.label} is rehearsed on {backup.name}.",
        {"rehearsed": plan.migration.stem, "evidence": evidence},
    )


def _drill(folder: Path, place: "CopyAt", *, as_json: bool) -> None:
    from pymilk.demo.first_day import prepare_first_day
    from pymilk.deploy.rehearsal.drill import run_drill
    from pymilk.project.project import load_project

    def told(line: str) -> None:
        (sys.stderr if as_json else sys.stdout).write(f"  ✓ {line}\n")
        sys.stdout.flush()

    drill = run_drill(load_project(folder), place, prepare_first_day, told)
    if as_json:
        say_json({"drill": drill})
    else:
        say(*drill_text(drill))
