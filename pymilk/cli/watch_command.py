"""`pymilk watch`: look at a live database again and again, and act when something breaks."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pymilk.cli import options
from pymilk.cli.durations import seconds_of
from pymilk.problem import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pymilk.cli.opening import Opened
    from pymilk.deploy.basis.plan import Plan
    from pymilk.deploy.watch.watch import Asked, Happening


@click.command
@click.option("--once", is_flag=True, help="One sample: for cron, or a scheduled workflow.")
@click.option(
    "--for",
    "duration",
    metavar="DURATION",
    help="Until it was watched for so long since the deploy; by default the soak.",
)
@click.option("--every", default="1m", metavar="DURATION", help="From one sample to the next.")
@options.on_breach
@options.db_url
@options.project
@options.policy
@options.as_json
def watch(
    *,
    once: bool,
    duration: str | None,
    every: str,
    on_breach: str | None,
    db_url: str | None,
    project: Path,
    policy: str | None,
    as_json: bool,
) -> None:
    """Watch the newest deploy: invariants, refusals, lock waits, times; all of it into the ledger.

    Started again it goes on where it was. Exit code 3 when something broke that held before the
    deploy; 1 when that was rolled back, as the policy says.

    Example: pymilk watch --for 24h --every 1m
    """
    from pymilk.cli.opening import open_project
    from pymilk.cli.watching import WatchView, write_json_lines

    opened = open_project(project, db_url, policy)
    asked = asked_for(opened, _needed(opened, duration, once=once), every, on_breach)
    run_watch(asked, write_json_lines if as_json else WatchView(asked.for_seconds).show)


def run_watch(asked: "Asked", show: "Callable[[Iterable[Happening]], Happening | None]") -> None:
    """Watch to the end, also without the terminal.

    Args:
        asked: What, and how.
        show: Shows what happens as it happens, and gives what came last.

    Raises:
        Problem: What the watch found, or what it came to.
    """
    from pymilk.cli.outliving import outliving_the_terminal
    from pymilk.deploy.watch.watch import watch as happenings_of
    from pymilk.deploy.watch.watch_end import verdict_of

    with outliving_the_terminal(asked.project.make_workspace() / "watch.log"):
        last = show(happenings_of(asked))
    problem = verdict_of(last)
    if problem is not None:
        raise problem


def asked_for(
    opened: "Opened", needed_seconds: float | None, every: str, on_breach: str | None
) -> "Asked":
    """What was typed, as what is to be watched."""
    from pymilk.cli.opening import plan_for
    from pymilk.deploy.watch.watch import Asked
    from pymilk.project.migrations import find_migration

    def plan_of(version: str) -> "Plan":
        return plan_for(opened, find_migration(opened.project.migrations, version), {})

    return Asked(
        project=opened.project,
        target=opened.target,
        policy=opened.project.policy(opened.target.preset),
        every_seconds=seconds_of(every, "--every"),
        for_seconds=needed_seconds,
        plan_for=plan_of,
        on_breach=on_breach,
    )


def _needed(opened: "Opened", duration: str | None, *, once: bool) -> float | None:
    if once and duration:
        raise UsageProblem(
            "--once and --for don't go together.",
            state="Nothing was looked at.",
            todo="Leave one of them out.",
        )
    if once:
        return None
    soak = opened.project.policy(opened.target.preset).soak_hours
    if duration is None and not soak:
        raise UsageProblem(
            "The policy asks for no soak time here, so say for how long to watch.",
            state="Nothing was looked at.",
            todo="Name it: pymilk watch --for 1h, or --once.",
        )
    return seconds_of(duration, "--for") if duration else soak * 3600
