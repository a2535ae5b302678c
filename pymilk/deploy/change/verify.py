"""Run a deployed migration's canary at any time."""

import time

from pymilk.database.connection import Connection, Target, connect, first_line
from pymilk.database.history import read_versions
from pymilk.deploy.change.script import NOT_NOW, ScriptFailed, run_verification
from pymilk.problem import Problem, TryAgainLater
from pymilk.project.migrations import Migration, Script

# What a customer's series of calls leaves in passing, where it was under way when the change came,
# is gone at the next look; a verification may take it for its own doing.
_LOOKS = 3
_BETWEEN_LOOKS_SECONDS = 0.5
# Milliseconds to wait for a row; the canary holds rows itself, and customers wait behind those.
_LOCK_TIMEOUT_MS = 500


def verify_now(target: Target, migration: Migration) -> float:
    """Run the verification, and undo what it did; gives the seconds it took.

    Raises:
        Problem: The migration isn't applied, or has no verification.
        ScriptFailed: It isn't in effect: each of a few looks said so.
        TryAgainLater: Rows that it needs are locked; it gives way to whoever is at work on them.
    """
    with connect(target.url, purpose="verify") as connection:
        return verify_over(connection, migration)


def verify_over(connection: Connection, migration: Migration) -> float:
    """The same over an open connection, which is in no transaction."""
    if migration.verify is None:
        raise Problem(
            f"{migration.label} has no verification.",
            state="Nothing was changed.",
            todo=f"Write supabase/verify/{migration.stem}.sql.",
        )
    if migration.version not in read_versions(connection):
        raise Problem(
            f"{migration.label} is not applied.",
            state="Nothing was changed.",
            todo=f"Deploy it: pymilk deploy {migration.argument}",
        )
    try:
        return _look_again(connection, migration.verify)
    except NOT_NOW as error:
        raise TryAgainLater(
            f"Somebody is at work on what the canary of {migration.label} needs:"
            f" {first_line(error)}.",
            state=f"{migration.version} is applied; the canary left nothing.",
            todo=f"Run it again: pymilk verify {migration.argument}",
        ) from error


def _look_again(connection: Connection, verification: Script) -> float:
    for _ in range(_LOOKS - 1):
        try:
            return _look(connection, verification)
        except ScriptFailed:
            time.sleep(_BETWEEN_LOOKS_SECONDS)
    return _look(connection, verification)


def _look(connection: Connection, verification: Script) -> float:
    with connection.transaction():
        connection.execute(f"set local lock_timeout = {_LOCK_TIMEOUT_MS}")
        return run_verification(connection, verification)
