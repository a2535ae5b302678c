"""Deploy a gap as if the proof were made on another machine: python deploy_beside.py URL ROOT NAME.

Whoever prints, dumps and rehearses here would take the processors from the very server whose app is
watched. So this process, and what it starts, takes only what nobody else wants until the change is
made (Linux's SCHED_IDLE: a low priority would still hold a processor for its slice while the app
waits); whoever holds locks must not be the one who waits, so that part runs like the app again.
Only root may go back to that, and only Linux knows it: elsewhere everything runs like the app.

It prints when the change began, on the machine's monotonic clock: all before that only reads.
"""

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from pymilk.database.connection import Target
from pymilk.database.programs import find_programs
from pymilk.deploy.basis.evidence import Evidence
from pymilk.deploy.basis.plan import Plan
from pymilk.deploy.pipeline import deploy
from pymilk.project.migrations import find_migration
from pymilk.project.policy import Preset
from pymilk.project.project import load_project, revision

if sys.platform == "linux":
    _WHAT_IS_LEFT, _LIKE_THE_APP = os.SCHED_IDLE, os.SCHED_OTHER
else:
    _WHAT_IS_LEFT = _LIKE_THE_APP = None


class _Priorities:
    """Gives way until the change is made, and not a moment longer."""

    def started(self, step: str) -> None:
        """The step that takes the locks doesn't give way."""
        if step == "apply":
            _run_as(_LIKE_THE_APP)
            sys.stdout.write(f"{time.monotonic()}\n")

    def stopped(self, step: str) -> None:
        """Nothing to do."""

    def finished(self, step: str, seconds: float, evidence: Evidence) -> None:
        """Nothing to do."""


def _run_as(policy: int | None) -> None:
    if policy is not None and os.geteuid() == 0:
        with suppress(PermissionError):  # a container may forbid it to its root
            os.sched_setscheduler(0, policy, os.sched_param(0))


def main(url: str, root: str, name: str) -> None:
    """Deploy it."""
    project = load_project(Path(root))
    _run_as(_WHAT_IS_LEFT)
    plan = Plan(
        project,
        find_migration(project.migrations, name),
        Target(url, Preset.LOCAL),
        project.policy(Preset.LOCAL),
        find_programs(),
        revision(project),
    )
    if deploy(plan, _Priorities()) is None:
        raise RuntimeError(f"{name} was deployed already")


if __name__ == "__main__":
    main(*sys.argv[1:4])
