"""A run that came to nothing is in the ledger too: what was tried, how far it came, and why not.

The row is written when everything else is over, on a connection of its own. Where that can't be,
it stays unwritten: what the run itself has to say must not depend on it.
"""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from psycopg import DatabaseError

from pymilk.database.connection import Connection, connect, first_line
from pymilk.database.ledger import Event, Kind, Outcome, record
from pymilk.database.ledger_version import NEWEST, ledger_version
from pymilk.deploy.plan import Plan
from pymilk.deploy.recorded import Refused
from pymilk.deploy.script import NOT_NOW
from pymilk.problem import Problem, TryAgainLater


class Stage:
    """How far a run has come.

    Attributes:
        step: The step that it is in, or ended in; empty before the first.
    """

    def __init__(self) -> None:
        self.step = ""


@contextmanager
def noted(plan: Plan, what: Kind) -> Iterator[Stage]:
    """Write into the ledger that the block failed, was given up or interrupted; then it goes on.

    Args:
        plan: Of which run.
        what: What is tried: a deploy, a rollback, a rehearsal.
    """
    stage, started = Stage(), time.monotonic()
    try:
        yield stage
    except BaseException as error:
        evidence = {
            "of": what,
            "step": stage.step,
            **_told(error),
            "seconds": round(time.monotonic() - started, 3),
            "overrides": dict(plan.overrides),
        }
        with suppress(KeyboardInterrupt):  # the first one ends the run; the second ends only this
            _write(plan, evidence, _outcome(error, stage))
        raise


def _told(error: BaseException) -> dict[str, str]:
    if isinstance(error, Problem):
        return {"why": error.happened, "state": error.state}
    return {"why": "interrupted" if isinstance(error, KeyboardInterrupt) else first_line(error)}


def _outcome(error: BaseException, stage: Stage) -> Outcome:
    if isinstance(error, (TryAgainLater, *NOT_NOW)):
        return Outcome.NOT_NOW
    if isinstance(error, Refused) or (isinstance(error, Problem) and stage.step in _FIRST):
        return Outcome.REFUSED
    return Outcome.FAILED if isinstance(error, Exception) else Outcome.INTERRUPTED


# What these say no to was not begun.
_FIRST = frozenset({"", "preflight"})


def _write(plan: Plan, evidence: dict[str, object], outcome: Outcome) -> None:
    with suppress(Problem, DatabaseError), connect(plan.target.url, purpose="ledger") as connection:
        # One that isn't there, or is older or newer than ours, isn't made or changed for this.
        if ledger_version(connection) == NEWEST and not _came_to_something(connection, plan.run):
            record(
                connection,
                Event(
                    Kind.ATTEMPT,
                    evidence,
                    version=plan.migration.version,
                    name=plan.migration.name,
                    revision=plan.revision.commit,
                    checksum=plan.migration.up.checksum,
                    outcome=outcome,
                    run=plan.run,
                ),
            )


def _came_to_something(connection: Connection, run: uuid.UUID) -> bool:
    """Whether the change was committed all the same, and what failed is what came after it."""
    row = connection.execute(
        "select exists (select from pymilk.events where run = %s"
        " and kind in ('deploy', 'rollback'))",
        (run,),
    ).fetchone()
    return bool(row and row[0])
