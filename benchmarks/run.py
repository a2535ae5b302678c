"""Run the benches: python benchmarks/run.py [--quick] [name …]; `make bench` does all of them.

Each prints its rows as they come. A full run is kept in benchmarks/results/; a quick one only shows
that the benches work.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping

import allocation
import backing_up
import deploying
import hot_customer
import live_impact
import month_end
import reading
import table
import watching
from pymilk.database.programs import find_programs
from side_by_side import Effort, Row

Bench = Callable[[Effort], Iterable[Row]]
"""Gives its rows, each as soon as it is measured."""

BENCHES: Mapping[str, Bench] = {
    "allocation": allocation.rows,
    "hot_customer": hot_customer.rows,
    "month_end": month_end.rows,
    "reading": reading.rows,
    "deploying": deploying.rows,
    "backing_up": backing_up.rows,
    "live_impact": live_impact.rows,
    "watching": watching.rows,
}
"""Name → bench, in the order in which they run; a new one is added here."""


def main(arguments: list[str]) -> int:
    """Run what was asked for.

    Returns:
        0, whatever the figures are: whether a target holds is read, not asserted.
    """
    parser = argparse.ArgumentParser(description="Measure pymilk side by side with its references.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"of: {', '.join(BENCHES)}")
    parser.add_argument("--quick", action="store_true", help="small and short: does it work?")
    asked = parser.parse_args(arguments)
    unknown = set(asked.names) - set(BENCHES)
    if unknown:
        parser.error(f"there is no bench {', '.join(sorted(unknown))}")
    effort = Effort.QUICK if asked.quick else Effort.FULL
    print(table.machine(), flush=True)
    for name in asked.names or BENCHES:
        print(f"\n{name}\n{table.head()}", flush=True)
        rows = []
        for row in BENCHES[name](effort):
            rows.append(row)
            print(table.line(row), flush=True)
        if effort is Effort.FULL:
            table.keep(name, rows, _version())
    return 0


def _version() -> str:
    """The version of the embedded Postgres."""
    said = subprocess.check_output([find_programs().path("postgres"), "--version"], text=True)
    return said.split()[-1]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
