"""A run that came to nothing is in the ledger too: what was tried, how far it came, and why not.

The row is written when everything else is over, on a connection of its own. Where that can't be,
it waits on this machine for the next run: what the run itself has to say must not depend on it.
"""

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from psycopg import DatabaseError

from pymilk.database.connection import Connection, connect, first_line
from pymilk.database.ledger import Event, Kind, Outcome, ledger_exists, record
from pymilk.database.ledger_version import NEWEST, ledger_version, prepare_ledger
from pymilk.deploy.basis.plan import Plan
from pymilk.deploy.basis.trace import Trace, Tried, tell_left, tracing
from pymilk.deploy.change.script import NOT_NOW
from pymilk.deploy.change.transaction import standing
from pymilk.problem import Problem, Refused, TryAgainLater


@contextmanager
def noted(plan: Plan, what: Kind, *, known: type[Problem] | tuple[()] = ()) -> Iterator[Trace]:
    """Write into the ledger that the block failed, was given up or interrupted; then it goes on.

    What earlier runs could not write, because they were killed, say, is written before it begins.

    Args:
        plan: Of which run.
        what: What is tried: a deploy, a rollback, a rehearsal.
        known: What is not written, because the ledger has the like of it already.
    """
    _write_left(plan)
    started = time.monotonic()
    with tracing(plan, what) as trace:
        try:
            yield trace
        except known:
            raise
        except BaseException as error:
            evidence = {
                "of": what,
                "step": trace.step,
                **_told(error),
                "seconds": round(time.monotonic() - started, 3),
                "overrides": dict(plan.overrides),
            }
            outcome = _outcome(error, what, trace.step)
            trace.ended(outcome, evidence, known=False)
            # the first one ends the run; the second ends only this
            with suppress(KeyboardInterrupt):
                if "state" not in evidence:
                    evidence["state"] = standing(plan.target, plan.migration.version)
                known_now = _write(plan, evidence, outcome)
                trace.ended(outcome, evidence, known=known_now)
            raise


def _told(error: BaseException) -> dict[str, str]:
    if isinstance(error, Problem):
        return {"why": error.happened, "state": error.state}
    return {"why": "interrupted" if isinstance(error, KeyboardInterrupt) else first_line(error)}


def _outcome(error: BaseException, what: Kind, step: str) -> Outcome:
    if isinstance(error, (TryAgainLater, *NOT_NOW)):
        return Outcome.NOT_NOW
    looking = what is not Kind.ROLLBACK and step in _FIRST
    if isinstance(error, Refused) or (isinstance(error, Problem) and looking):
        return Outcome.REFUSED
    return Outcome.FAILED if isinstance(error, Exception) else Outcome.INTERRUPTED


# What these say no to was not begun. A rollback has no steps: it begins at once.
_FIRST = frozenset({"", "preflight"})


def _write(plan: Plan, evidence: Mapping[str, object], outcome: Outcome) -> bool:
    """Write it down; gives whether there is nothing left to write."""
    event = Event(
        Kind.ATTEMPT,
        evidence,
        version=plan.migration.version,
        name=plan.migration.name,
        revision=plan.revision.commit,
        checksum=plan.migration.up.checksum,
        outcome=outcome,
        run=plan.run,
    )
    with suppress(Problem, DatabaseError), connect(plan.target.url, purpose="ledger") as connection:
        if ledger_version(connection) == 0:
            return True  # nothing of ours is there, and a run that came to nothing makes nothing
        # An older one is brought up to date by whoever changes something.
        if ledger_version(connection) == NEWEST:
            if not _is_told(connection, plan.run, {Kind.DEPLOY, Kind.ROLLBACK}):
                record(connection, event)
            return True
    return False


def _write_left(plan: Plan) -> None:
    """Write down what earlier runs could not."""

    def tell(tried: Tried) -> bool:
        with connect(plan.target.url, purpose="ledger") as connection:
            if not ledger_exists(connection):
                return False
            prepare_ledger(connection)
            # Committed all the same, or written down before the file could go.
            if not _is_told(connection, tried.run, {Kind.DEPLOY, Kind.ROLLBACK, Kind.ATTEMPT}):
                state = standing(plan.target, tried.version)
                record(connection, _event_of(tried, plan.run, state))
            return True

    with suppress(Problem, DatabaseError):
        tell_left(plan, tell)


def _event_of(tried: Tried, told_by: uuid.UUID, state: str) -> Event:
    evidence = {
        "of": tried.of,
        "step": tried.step,
        "state": state,
        **tried.evidence,
        "began": tried.began,
        "by": tried.person,
        "told_by": told_by,
    }
    return Event(
        Kind.ATTEMPT,
        evidence,
        version=tried.version,
        name=tried.name,
        revision=tried.revision,
        checksum=tried.checksum,
        outcome=tried.outcome,
        run=tried.run,
    )


def _is_told(connection: Connection, run: uuid.UUID, kinds: set[Kind]) -> bool:
    """Whether the ledger knows how a run ended: that it was committed all the same, for instance.

    What fails after a commit is what came after it.
    """
    row = connection.execute(
        "select exists (select from pymilk.events where run = %s and kind = any(%s))",
        (run, sorted(kinds)),
    ).fetchone()
    return bool(row and row[0])
