"""Run a deployed migration's canary at any time."""

from pymilk.database.connection import Target, connect
from pymilk.database.history import read_history
from pymilk.deploy.script import run_verification
from pymilk.problem import Problem
from pymilk.project.migrations import Migration


def verify_now(target: Target, migration: Migration) -> float:
    """Run the verification, and undo what it did; gives the seconds it took.

    Raises:
        Problem: The migration isn't applied, or has no verification.
        ScriptFailed: It isn't in effect.
    """
    if migration.verify is None:
        raise Problem(
            f"{migration.label} has no verification.",
            state="Nothing was changed.",
            todo=f"Write supabase/verify/{migration.stem}.sql.",
        )
    with connect(target.url, purpose="verify") as connection:
        if migration.version not in {row.version for row in read_history(connection)}:
            raise Problem(
                f"{migration.label} is not applied.",
                state="Nothing was changed.",
                todo=f"Deploy it: pymilk deploy {migration.argument}",
            )
        with connection.transaction():
            return run_verification(connection, migration.verify)
