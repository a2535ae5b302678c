"""Measure the performance targets, one or all: measure.py 4 2 --rounds 3."""

import argparse
import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

# Run as a script from a checkout: what lies beside it is the package `independent`, and what starts
# PostgREST stands below tests/.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from independent.figures import Effort, Figure, tell

MODULES = {
    1: "allocation",
    2: "hot_customer",
    3: "month_end",
    4: "reading_books",
    5: "deploy_engine",
    6: "proven_backup",
    7: "live_impact",
}
"""Target → the module that measures it; each has `measure(effort)`, which yields figures."""

Measure = Callable[[Effort], Iterable[Figure]]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "targets",
        nargs="*",
        type=int,
        choices=[*MODULES, []],
        metavar="TARGET",
        help="1 to 7, measured in the order given; without any, 7 to 1",
    )
    parser.add_argument("--rounds", type=int, help="of each side (default 5; quick: 1)")
    parser.add_argument("--quick", action="store_true", help="tiny: does it work?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    return parser.parse_args()


def _load(target: int) -> Measure:
    # Loaded when its turn comes, so that a target's missing tool stops that target alone.
    module = importlib.import_module(f"independent.{MODULES[target]}")
    return cast("Measure", module.measure)


def main() -> int:
    """Measure what was asked for; 1 where a limit does not hold."""
    asked = _arguments()
    rounds = asked.rounds or (1 if asked.quick else 5)
    effort = Effort(rounds=max(1, rounds), quick=asked.quick)
    figures: list[Figure] = []
    for target in asked.targets or sorted(MODULES, reverse=True):
        tell(f"target {target} ({MODULES[target]})")
        started = time.monotonic()
        for figure in _load(target)(effort):
            figures.append(figure)
            print(figure.line(), flush=True)
        tell(f"target {target}: {time.monotonic() - started:.0f} s")
        if asked.json is not None:
            asked.json.write_text(_document(effort, figures))
    if effort.quick:
        print("quick: these figures mean nothing, only that everything works")
        return 0
    return int(any(figure.holds is False for figure in figures))


def _document(effort: Effort, figures: list[Figure]) -> str:
    return json.dumps(
        {
            "machine": platform.processor() or platform.machine(),
            "cpus": os.cpu_count(),
            "load_before": os.getloadavg(),
            "python": platform.python_version(),
            "rounds": effort.rounds,
            "quick": effort.quick,
            "figures": [figure.as_dict() for figure in figures],
        },
        indent=2,
    )


if __name__ == "__main__":
    raise SystemExit(main())
