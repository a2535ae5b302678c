"""What one more deploy costs where 200 were applied before: python benchmarks/many_applied.py.

The dairy with its live size, 200 migrations in its history and in the ledger, each with as much
evidence as a gap leaves; then GAP-001, with everything proven. Backup, restore test and rehearsal
take what the data take; the rest is what the history may cost.
"""

import secrets
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from pymilk.database.catalog import read_catalog
from pymilk.database.connection import Target, connect
from pymilk.database.embedded import scratch
from pymilk.database.history import record_applied
from pymilk.database.ledger import Event, Kind, record
from pymilk.database.programs import find_programs
from pymilk.demo.first_day import prepare_first_day
from pymilk.deploy.evidence import Evidence
from pymilk.deploy.pipeline import deploy
from pymilk.deploy.plan import Plan
from pymilk.project.migrations import find_migration
from pymilk.project.policy import Preset
from pymilk.project.project import load_project, revision

_ROOT = Path(__file__).resolve().parents[1]
_BEFORE = 200
_DEPLOY_KB, _REHEARSAL_KB = 45, 30
_PROOF = frozenset({"backup", "restore test", "rehearsal"})


class Seconds:
    """Remembers how long each step took."""

    def __init__(self) -> None:
        self.of: dict[str, float] = {}

    def started(self, step: str) -> None:
        """Nothing to do."""

    def stopped(self, step: str) -> None:
        """Nothing to do."""

    def finished(self, step: str, seconds: float, evidence: Evidence) -> None:  # noqa: ARG002
        """Take it down."""
        self.of[step] = seconds


def _project(root: Path) -> None:
    """The dairy's files, and 200 more between its baseline and its first gap."""
    for name in ("supabase", "sql"):
        shutil.copytree(_ROOT / name, root / name)
    shutil.copy(_ROOT / "pyproject.toml", root)
    for number in range(_BEFORE):
        stem = f"20250902{number:06}_step_{number:03}"
        (root / "supabase" / "migrations" / f"{stem}.sql").write_text("select 1;\n")


def _apply_all(url: str, root: Path) -> None:
    """History and ledger as 200 deploys have left them."""
    with connect(url, purpose="benchmark") as connection, connection.transaction():
        catalog = read_catalog(connection)
        for migration in load_project(root).migrations[1 : _BEFORE + 1]:
            record_applied(connection, migration)
            deployed = Event(
                Kind.DEPLOY,
                {"state_before": secrets.token_hex(500 * _DEPLOY_KB)},
                version=migration.version,
                name=migration.name,
                checksum=migration.up.checksum,
                before=catalog,
                after=catalog,
            )
            evidence = {"statements": secrets.token_hex(500 * _REHEARSAL_KB)}
            rehearsed = replace(
                deployed, kind=Kind.REHEARSAL, evidence=evidence, before=None, after=None
            )
            record(connection, rehearsed)
            record(connection, deployed)


def main() -> None:
    """Print the seconds of each step."""
    with tempfile.TemporaryDirectory() as folder, scratch() as server:
        root = Path(folder)
        _project(root)
        project = load_project(root)
        prepare_first_day(server.url(), project)
        _apply_all(server.url(), root)
        plan = Plan(
            project,
            find_migration(project.migrations, "001"),
            Target(server.url(), Preset.LOCAL),
            project.policy(Preset.LOCAL),
            find_programs(),
            revision(project),
        )
        seconds = Seconds()
        started = time.perf_counter()
        deploy(plan, seconds)
        whole = time.perf_counter() - started
    for step, took in seconds.of.items():
        print(f"{step:<14}{took:6.2f} s")
    beyond = sum(took for step, took in seconds.of.items() if step not in _PROOF)
    print(f"beyond backup, restore test and rehearsal, with {_BEFORE} applied: {beyond:.2f} s")
    print(f"the whole of it, with starting the server of the copy: {whole:.2f} s")


if __name__ == "__main__":
    main()
