"""What the app notices while a gap is deployed: eight clients at their usual statements.

For each gap, the load of tests/support/app_load.py for as long as the last deploy took, ten
seconds at most, with nothing beside it; then the same while the gap is deployed, from the first
look to the last. Compared are the 99th percentiles of all statements; the longest single one is
told, and what the percentile consists of: how it stands while the gap is only being proven, and how
many statements took long from the change on: each client waits for the locks once, and each session
plans anew what the change has touched.

The database is on this machine, and so is everything of the deploy: the dump's program, the copy's
server, the rehearsal. In practice those are on another one. They give way here, which comes near to
that (deploy_beside.py); what the live server itself does for them doesn't, nor does whatever holds
a lock: it runs at the app's priority.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from pymilk.database.connection import connect
from pymilk.database.embedded import scratch
from pymilk.demo.first_day import prepare_first_day
from pymilk.project.migrations import Migration
from pymilk.project.project import load_project
from side_by_side import Effort, Rounds, Row, at_most
from support.app_load import Told, app_at_work

_ROOT = Path(__file__).resolve().parents[1]
_BESIDE = Path(__file__).with_name("deploy_beside.py")
_SHARE = 0.99
_MS = 1000
_LONG_ENOUGH_SECONDS = 10.0
_LIMIT = 1.5
_WHILE, _PROVING, _WITHOUT = "while a gap is deployed", "while it is only being proven", "without"


def rows(effort: Effort) -> Iterable[Row]:
    """The 99th percentile beside the one without a deploy, the longest statement, the failures."""
    with scratch() as server, tempfile.TemporaryDirectory() as folder:
        root, url = Path(folder) / "dairy", server.url()
        _copy_project(root)
        project = load_project(root)
        prepare_first_day(url, project)
        with connect(url, purpose="benchmark") as connection:
            connection.execute("analyze")
        gaps = project.migrations[1 : effort.choose(None, 2)]
        without, during, changes = [], [], []
        seconds = effort.choose(8.0, 2.0)
        for gap in gaps:
            with app_at_work(url) as quiet:
                time.sleep(min(seconds, _LONG_ENOUGH_SECONDS))
            started = time.monotonic()
            with app_at_work(url) as told:
                change = _deploy(root, url, gap)
            seconds = time.monotonic() - started
            without.append(quiet)
            during.append(told)
            changes.append(change)
    many = f"of {len(gaps)} gaps, one after the other"
    yield Rounds({_WHILE: _percentiles(during), _WITHOUT: _percentiles(without)}, "ms").ratio(
        _WHILE,
        _WITHOUT,
        at_most(_LIMIT),
        name=f"99th percentile of the app's statements, {_WHILE}",
        note=many,
    )
    proven = [
        told.within(_SHARE, until=change) * _MS
        for told, change in zip(during, changes, strict=True)
    ]
    yield Rounds({_PROVING: proven, _WITHOUT: _percentiles(without)}, "ms").ratio(
        _PROVING,
        _WITHOUT,
        name=f"99th percentile of the app's statements, {_PROVING}",
        note=many,
    )
    late = f"statements over {_LIMIT} times that percentile {_WITHOUT}, from the change on"
    yield Rounds({late: _late(without, during, changes)}, "").alone(
        late, note=f"{many}; a hundredth of all is {_hundredth(during)}"
    )
    yield Rounds({_WHILE: _longest(during), _WITHOUT: _longest(without)}, "ms").ratio(
        _WHILE,
        _WITHOUT,
        name=f"the longest of the app's statements, {_WHILE}",
        note=f"{many}; the longest of all {max(_longest(during)):.0f} ms",
    )
    failed = "statements of the app's that failed"
    yield Rounds({failed: [float(len(told.failed)) for told in during]}, "").alone(
        failed, at_most(0), note=f"{sum(told.transactions for told in during):,} in all"
    )


def _copy_project(root: Path) -> None:
    for name in ("supabase", "sql"):
        shutil.copytree(_ROOT / name, root / name)
    shutil.copy(_ROOT / "pyproject.toml", root)


def _deploy(root: Path, url: str, gap: Migration) -> float:
    """Deploy a gap with everything proven; gives when the change began, on the monotonic clock."""
    said = subprocess.run(
        [sys.executable, str(_BESIDE), url, str(root), gap.argument],
        capture_output=True,
        text=True,
        check=False,
    )
    if said.returncode:
        raise RuntimeError(said.stdout + said.stderr)
    return float(said.stdout)


def _late(without: list[Told], during: list[Told], changes: list[float]) -> list[float]:
    """For each gap, how many statements from its change on were over the limit."""
    return [
        float(told.longer(_LIMIT * quiet.within(_SHARE), since=change))
        for quiet, told, change in zip(without, during, changes, strict=True)
    ]


def _hundredth(during: list[Told]) -> str:
    """How many statements make a hundredth of all, of the gaps with the fewest and the most."""
    shares = [round(told.transactions * (1 - _SHARE)) for told in during]
    return f"{min(shares)} to {max(shares)}"


def _percentiles(told: Iterable[Told]) -> list[float]:
    return [one.within(_SHARE) * _MS for one in told]


def _longest(told: Iterable[Told]) -> list[float]:
    return [one.longest[0] * _MS for one in told]
