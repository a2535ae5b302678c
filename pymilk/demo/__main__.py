"""`python -m pymilk.demo`: a month of the demo dairy on a database to throw away, as an account."""

from __future__ import annotations

import sys
from pathlib import Path

from pymilk.database.connection import connect
from pymilk.database.embedded import scratch
from pymilk.demo.account import as_text
from pymilk.demo.dairy import load
from pymilk.demo.month import run_month
from pymilk.deploy.change.script import run_script
from pymilk.problem import Problem
from pymilk.project.project import load_project


def main() -> int:
    """Run the month and print its account; gives the exit code."""
    try:
        baseline, *gaps = load_project(Path.cwd()).migrations
        with scratch() as server, connect(server.url(), purpose="demo") as connection:
            with connection.transaction():
                run_script(connection, baseline.up)
                load(connection)
            for migration in gaps:
                with connection.transaction():
                    run_script(connection, migration.up)
            figures = run_month(connection)
    except Problem as problem:
        sys.stderr.write(f"{problem.happened}\n{problem.todo}\n")
        return problem.exit_code
    sys.stdout.write(as_text(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
