"""The command line as it is, with what no peer does timed: python pymilk_timed.py FILE ARGUMENTS.

The copy's server, the backup, the restore test and the rehearsal are what peers have nothing like,
and so is the code that only these need.
How long they took is written to FILE as JSON, so that whoever measures the whole process can tell
both: all of it, and what is left without them. So is how long the other steps took.
"""

import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

_seconds: dict[str, float] = defaultdict(float)
_steps: dict[str, float] = defaultdict(float)


@contextmanager
def _timed(part: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        _seconds[part] += time.perf_counter() - started


def _timing(part: str, run: Callable[..., Any]) -> Callable[..., Any]:
    def timed(*arguments: Any) -> Any:  # noqa: ANN401 - whatever the step takes
        with _timed(part):
            return run(*arguments)

    return timed


def _time_the_proof() -> None:
    from pymilk.deploy import pipeline  # noqa: PLC0415 - as late as the command line does it

    pipeline.PROOF = tuple(  # type: ignore[assignment]
        replace(step, run=_timing(step.name, step.run)) for step in pipeline.PROOF
    )
    deploy = pipeline.deploy

    def timed_deploy(plan: Any, progress: Any, approval: Any, opening: Any) -> Any:  # noqa: ANN401
        return deploy(plan, _Noted(progress), approval, partial(_timed_bench, opening))

    pipeline.deploy = timed_deploy  # type: ignore[assignment]


@dataclass(frozen=True)
class _Noted:
    """The same watcher, and how long each step took."""

    watcher: Any

    def started(self, step: str) -> None:
        """A step has begun."""
        self.watcher.started(step)

    def stopped(self, step: str) -> None:
        """A step has refused, failed, or was interrupted."""
        self.watcher.stopped(step)

    def finished(self, step: str, seconds: float, evidence: Any) -> None:  # noqa: ANN401 - passed on
        """A step has ended."""
        _steps[step] += seconds
        self.watcher.finished(step, seconds, evidence)


@contextmanager
def _timed_bench(opening: Any, *arguments: Any) -> Iterator[Any]:  # noqa: ANN401 - likewise
    bench = opening(*arguments)
    with _timed("the copy's server"):
        opened = bench.__enter__()
    try:
        yield opened
    finally:
        with _timed("the copy's server"):
            bench.__exit__(None, None, None)


def main() -> int:
    """Run it."""
    file, sys.argv = Path(sys.argv[1]), ["pymilk", *sys.argv[2:]]
    from pymilk.__main__ import main as command_line  # noqa: PLC0415 - its loading counts
    from pymilk.__main__ import seldom_look_for_garbage  # noqa: PLC0415 - likewise

    seldom_look_for_garbage()  # before anything is loaded, as the command line does
    import_module("pymilk.deploy.apply")
    import_module("pymilk.deploy.after")
    with _timed("loading what only the proof needs"):
        import_module("pymilk.deploy.pipeline")
    _time_the_proof()
    try:
        return command_line()
    finally:
        told = {"proof": _seconds, "steps": _steps}
        file.write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
