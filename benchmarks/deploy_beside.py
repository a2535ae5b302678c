"""Deploy a gap as if the proof were made on another machine: python deploy_beside.py URL ROOT NAME.

Whoever prints, dumps and rehearses here would take the processors from the very server whose app is
watched. So this process, and what it starts, goes on at a low priority until the change is made;
whoever holds locks must not be the one who waits, so that part runs at the app's priority again.
Only root may go back to that: for anybody else everything runs at the app's.
"""

import os
import sys
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

_LOW, _NORMAL = 10, 0


class _Priorities:
    """Gives way until the change is made, and not a moment longer."""

    def started(self, step: str) -> None:
        """The step that takes the locks doesn't give way."""
        if step == "apply":
            _go_on_at(_NORMAL)

    def stopped(self, step: str) -> None:
        """Nothing to do."""

    def finished(self, step: str, seconds: float, evidence: Evidence) -> None:
        """Nothing to do."""


def _go_on_at(priority: int) -> None:
    if os.geteuid() == 0:
        with suppress(PermissionError):  # a container may forbid it to its root
            os.setpriority(os.PRIO_PROCESS, 0, priority)


def main(url: str, root: str, name: str) -> None:
    """Deploy it."""
    project = load_project(Path(root))
    _go_on_at(_LOW)
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
