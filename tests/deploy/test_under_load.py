"""Every gap comes and goes while the app is at work, and no client notices."""

import shutil
from pathlib import Path

import pytest

from pymilk.database.connection import connect
from pymilk.deploy.change.rollback import roll_back
from pymilk.deploy.pipeline import deploy
from pymilk.deploy.survey.adopt import adopt
from support.app_load import Told, app_at_work
from support.databases import ROOT, Database
from support.projects import Silent, Toy

# What nobody at a counter notices; the deploy's own budget is shorter.
LONGEST_STALL_SECONDS = 0.5


def dairy_project(root: Path) -> Toy:
    """The dairy's own project, as it is."""
    for folder in ("supabase", "sql"):
        shutil.copytree(ROOT / folder, root / folder)
    shutil.copy(ROOT / "pyproject.toml", root)
    return Toy(root)


@pytest.mark.long
def test_each_gap_comes_and_goes_beside_eight_clients(dairy: Database, tmp_path: Path) -> None:
    project = dairy_project(tmp_path / "project")
    with connect(dairy.url, purpose="test") as session:
        session.execute("analyze")
    baseline = project.plan(dairy, "20250901000000")
    adopt(baseline.project, baseline.target, baseline.policy, None)
    met: dict[str, Told] = {}
    for migration in baseline.project.migrations[1:]:
        plan = project.plan(dairy, migration.version)
        with app_at_work(dairy.url) as told:
            assert deploy(plan, Silent()) is not None
        met[f"{migration.label} deployed"] = told
        with app_at_work(dairy.url) as told:
            roll_back(plan, archive=True)
        met[f"{migration.label} rolled back"] = told
        assert deploy(plan, Silent()) is not None
    report = "\n".join(
        f"{what:<24} {told.transactions:>6} transactions, {len(told.failed)} failed, longest"
        f" {told.longest[0] * 1000:.0f} ms: {told.longest[1]}"
        for what, told in met.items()
    )
    print(report)  # noqa: T201 - the figures are what the run is for
    assert not [failure for told in met.values() for failure in told.failed], report
    assert max(told.longest[0] for told in met.values()) < LONGEST_STALL_SECONDS, report
