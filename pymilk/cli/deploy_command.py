"""`pymilk deploy`: one migration, with everything proven."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pymilk.cli import options
from pymilk.cli.answers import agree, done
from pymilk.cli.durations import seconds_of
from pymilk.cli.render import deployed_text, plan_text, say, say_json
from pymilk.cli.under_way import under_way

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from pymilk.cli.opening import Opened
    from pymilk.deploy.approval import Approval
    from pymilk.deploy.basis.plan import Plan
    from pymilk.deploy.watch.watch import Asked
    from pymilk.project.migrations import Migration


@click.command
@options.name
@options.every
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Deploy exactly what was approved: saved by rehearse --save; proven anew.",
)
@options.db_url
@options.project
@options.policy
@options.override
@options.copy
@options.copy_url
@click.option(
    "--watch", "watch_for", metavar="DURATION", help="Watch it for so long afterwards: 10m, 24h."
)
@click.option(
    "--watch-every", default="30s", metavar="DURATION", help="From one sample to the next."
)
@options.on_breach
@options.as_json
@options.yes
def deploy(
    *,
    name: str | None,
    every: bool,
    plan_file: Path | None,
    db_url: str | None,
    project: Path,
    policy: str | None,
    override: tuple[str, ...],
    copy: str | None,
    copy_url: str | None,
    watch_for: str | None,
    watch_every: str,
    on_breach: str | None,
    as_json: bool,
    yes: bool,
) -> None:
    """Deploy a migration with everything proven; without a name, the oldest pending.

    Example: pymilk deploy 001 --watch 10m
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

    refuse_together({"NAME": name, "--all": every, "--plan": plan_file})
    refuse_together({"--override": override, "--plan": plan_file})
    approval = _approval(plan_file)
    overrides = dict(approval.overrides) if approval else parse_overrides(override)
    opened = open_project(project, db_url, policy)
    place = copy_at(opened.project, copy, copy_url)
    asked = _asked(opened, watch_for, watch_every, on_breach)
    named = approval.migration if approval else name
    migrations = migrations_to_deploy(opened, named)
    if not migrations:
        done(as_json, nothing_pending(opened), {"deployed": None})
        return
    chosen = migrations if every else migrations[:1]
    if named and already_deployed(opened, chosen[0], as_json=as_json):
        # Its watch may have been cut off: it goes on where it was.
        _watch(asked, chosen[0], as_json=as_json)
        return
    plans = [plan_for(opened, migration, overrides, place) for migration in chosen]
    _agree(plans, yes=yes, as_json=as_json)
    _deploy(opened, plans, approval, asked, as_json=as_json, every=every)


def _approval(plan_file: Path | None) -> "Approval | None":
    """What somebody approved, where a plan is named."""
    if plan_file is None:
        return None
    from pymilk.deploy.approval import load_approval

    return load_approval(plan_file)


def _asked(
    opened: "Opened", watch_for: str | None, watch_every: str, on_breach: str | None
) -> "Asked | None":
    """The watch that is asked for, if one is."""
    if watch_for is None:
        return None
    from pymilk.cli.watch_command import asked_for
    from pymilk.deploy.watch.watch import refuse_too_seldom

    asked = asked_for(opened, seconds_of(watch_for, "--watch"), watch_every, on_breach)
    refuse_too_seldom(asked)
    return asked


def _deploy(
    opened: "Opened",
    plans: "Sequence[Plan]",
    approval: "Approval | None",
    asked: "Asked | None",
    *,
    as_json: bool,
    every: bool,
) -> None:
    """Deploy them, and tell of each as it is done."""
    from pymilk.cli.progress import LineProgress
    from pymilk.deploy.pipeline import deploy_all
    from pymilk.deploy.rehearsal.bench import open_bench, server_kept

    told: list[dict[str, object]] = []
    progress = LineProgress(sys.stderr if as_json else None)
    # Nobody keeps a server for a copy while a watch goes on, for a day perhaps.
    one_by_one = asked is not None or len(plans) == 1
    keeping = nullcontext(open_bench) if one_by_one else server_kept()
    try:
        with keeping as opening:
            for plan, evidence in deploy_all(plans, progress, _under_way, approval, opening):
                told.append({"deployed": plan.migration.stem, "evidence": evidence})
                if evidence is None and not (as_json and every):  # else it is in the one list
                    already_deployed(opened, plan.migration, as_json=as_json)
                elif evidence is not None and not as_json:
                    say(*deployed_text(plan, evidence))
                _watch(asked, plan.migration, as_json=as_json)
    finally:
        # What was deployed is told, also when a later one was refused.
        if as_json and every:
            say_json(told)
        elif as_json and told and told[0]["evidence"] is not None:
            say_json(told[0])


def _agree(plans: "Sequence[Plan]", *, yes: bool, as_json: bool) -> None:
    """Show the plan, in full where a person has to agree to it."""
    first, *later = plans
    labels = tuple(plan.migration.label for plan in later)
    if first.policy.ask and not yes:
        from pymilk.cli.render_plan import preview_text
        from pymilk.deploy.preview import preview

        say(*preview_text(preview(first, labels)), aside=as_json)
    elif not as_json:
        say(*(line for plan in plans for line in plan_text(plan)))
    question = f"Deploy {', '.join((first.migration.label, *labels))}?"
    agree(first.policy.ask, yes, question)


def _watch(asked: "Asked | None", migration: "Migration", *, as_json: bool) -> None:
    """The last step, where it is asked for."""
    if asked is None:
        return
    from pymilk.cli.watch_command import run_watch
    from pymilk.cli.watching import WatchView

    with under_way(asked.target, migration):
        run_watch(asked, WatchView(asked.for_seconds, to_stderr=as_json).show)


def _under_way(plan: "Plan") -> "AbstractContextManager[None]":
    return under_way(plan.target, plan.migration)


def already_deployed(opened: "Opened", migration: "Migration", *, as_json: bool) -> bool:
    """Whether it is applied already, as the file says it; then there is nothing to do."""
    from pymilk.deploy.survey.status import Standing, read_status

    row = read_status(opened.target.url, opened.project).find(migration.version)
    if row.standing is not Standing.APPLIED:
        return False
    when = f" since {row.at:%Y-%m-%d %H:%M} UTC, by {row.person}" if row.at else ""
    done(
        as_json,
        f"{migration.label} is deployed already{when}; nothing to do."
        f" To undo it: pymilk rollback {migration.argument}",
        {"deployed": migration.stem, "already": True},
    )
    return True
