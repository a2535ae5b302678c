"""Deploy all that is pending, as `pymilk deploy --all` does: stepwise.py URL PROJECT.

Prints as JSON the seconds that each step took, summed over the migrations, and those of making
benches for the copies ("bench").
"""

# ruff: noqa: E402 - what is set before anything is loaded has to stand before it
import gc
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from pymilk.__main__ import seldom_look_for_garbage

seldom_look_for_garbage()  # as the command does, before anything is loaded

from pymilk.cli.opening import copy_at, migrations_to_deploy, open_project, plan_for
from pymilk.cli.under_way import under_way
from pymilk.deploy.basis.evidence import Evidence
from pymilk.deploy.basis.plan import Bench, CopyAt
from pymilk.deploy.pipeline import deploy_all
from pymilk.deploy.rehearsal.bench import OpenBench, open_bench, server_kept


class _Times:
    """A watcher that keeps times."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def started(self, step: str) -> None:
        """Nothing is shown."""

    def stopped(self, step: str) -> None:
        """Nothing is shown: an error follows."""

    def finished(self, step: str, seconds: float, evidence: Evidence) -> None:  # noqa: ARG002
        """Add it up."""
        self.add(step, seconds)

    def add(self, step: str, seconds: float) -> None:
        """Seconds of a step."""
        self.seconds[step] = self.seconds.get(step, 0.0) + seconds


def _timed(opening: OpenBench, times: _Times) -> OpenBench:
    @contextmanager
    def opened(copy: CopyAt, url: str, major: int) -> Iterator[Bench]:
        started = time.perf_counter()
        with opening(copy, url, major) as bench:
            times.add("bench", time.perf_counter() - started)
            yield bench
            started = time.perf_counter()
        times.add("bench", time.perf_counter() - started)

    return opened


def main(url: str, folder: Path) -> None:
    """Deploy, and tell."""
    opened = open_project(folder, url, "local")
    place = copy_at(opened.project, None, None)
    plans = [plan_for(opened, one, {}, place) for one in migrations_to_deploy(opened, None)]
    times = _Times()
    keeping = nullcontext(open_bench) if len(plans) == 1 else server_kept()
    with keeping as opening:
        for _ in deploy_all(
            plans,
            times,
            lambda plan: under_way(plan.target, plan.migration),
            opening=_timed(opening, times),
        ):
            pass
        ending = time.perf_counter()
    times.add("bench", time.perf_counter() - ending)
    print(json.dumps(times.seconds))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
    gc.freeze()  # likewise, at its end
