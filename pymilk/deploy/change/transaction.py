"""One transaction against a live database: all of it or nothing, and never in the app's way.

Locks are asked for with a short timeout: whoever waits for a strong lock makes every later reader
of that table wait behind him, so it is better to give up, let them pass and come back. Each time a
little later, at random, until the policy's patience is at its end.
"""

import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import psycopg

from pymilk.database.connection import Connection, Target, connect, first_line
from pymilk.database.history import read_versions
from pymilk.database.ledger import happened, read_entries
from pymilk.deploy.basis.blockers import watching
from pymilk.deploy.basis.half import half_of
from pymilk.deploy.basis.lock import holds_deploy_lock, session_of
from pymilk.deploy.change.script import NOT_NOW
from pymilk.problem import Problem, TryAgainLater
from pymilk.project.policy import Policy

T = TypeVar("T")

_RECONNECT_SECONDS = 30.0
_STANDING_WAITS = "3s"
# The longest pause between two attempts; they grow towards it.
_LONGEST_PAUSE_SECONDS = 2.0


@dataclass(frozen=True)
class Done(Generic[T]):
    """What a transaction came to.

    Attributes:
        result: What the work gave.
        attempts: Which attempt it was.
        seconds: How long that attempt's transaction was open.
        ended: When it had committed, on the monotonic clock.
    """

    result: T
    attempts: int
    seconds: float
    ended: float


def all_or_nothing(
    guard: Connection,
    target: Target,
    policy: Policy,
    work: Callable[[Connection, uuid.UUID], T],
) -> Done[T]:
    """Run `work` in a transaction that either commits whole or leaves nothing.

    Args:
        guard: The connection that holds the deploy lock.
        target: The database, to look from beside, and to ask again when the connection is lost.
        policy: How long to queue for a lock, how often to try, and for how long in all.
        work: Does everything, and records a ledger event under the token that it is given.

    Raises:
        TryAgainLater: The locks were not to be had.
        Problem: The connection was lost, and the ledger says that nothing was committed.
    """
    token, session = uuid.uuid4(), session_of(guard)
    refused: psycopg.Error | None = None
    began, attempt = time.monotonic(), 0
    with watching(target, session) as in_the_way:
        while attempt < policy.lock_attempts and _patient(policy, began):
            attempt += 1
            result: list[T] = []
            started = time.monotonic()
            try:
                with guard.transaction():
                    guard.execute(f"set local lock_timeout = {policy.lock_timeout_ms}")
                    guard.execute("set local idle_in_transaction_session_timeout = '60s'")
                    # When this process dies, its locks go with it, also from within a statement.
                    guard.execute("set local client_connection_check_interval = '1s'")
                    result.append(work(guard, token))
                return _done(result[0], attempt, started)
            except NOT_NOW as error:
                refused = error
                time.sleep(pause(policy, attempt))
            except psycopg.Error as error:
                if not guard.closed:
                    raise _server_refused(error) from error
                if result and committed(target, token, session):
                    return _done(result[0], attempt, started)
                raise _lost(error, at_commit=bool(result)) from error
    raise TryAgainLater(
        f"The locks could not be acquired in {attempt} attempts over"
        f" {time.monotonic() - began:.0f} s, of at most {policy.lock_timeout_ms} ms each"
        f" ({first_line(refused) if refused else ''}); in the way: {in_the_way}.",
        state="Nothing was changed: every attempt was rolled back.",
        todo="Run it again when that session has ended its transaction, or end it:"
        " select pg_terminate_backend(…).",
    ) from refused


def _patient(policy: Policy, began: float) -> bool:
    return time.monotonic() - began < policy.lock_patience_seconds


def pause(policy: Policy, attempt: int) -> float:
    """Apart by more than we queued, growing, and never in step with another one that retries."""
    least = policy.lock_timeout_ms / 1000 * 1.2 ** (attempt - 1)
    return min(least * random.uniform(1.0, 3.0), _LONGEST_PAUSE_SECONDS)  # noqa: S311


def _done(result: T, attempt: int, started: float) -> Done[T]:
    ended = time.monotonic()
    return Done(result, attempt, ended - started, ended)


def _server_refused(error: psycopg.Error) -> Problem:
    return Problem(
        f"Postgres stopped it: {first_line(error)}",
        state="Nothing was changed: the transaction was rolled back.",
        todo="Mend what it says, then run it again.",
    )


def _lost(error: psycopg.Error, *, at_commit: bool) -> Problem:
    return Problem(
        f"The connection was lost: {first_line(error)}",
        state="Nothing was changed: the ledger, read again, has no record of it."
        if at_commit
        else "Nothing was changed: it was lost before the commit.",
        todo="Run it again.",
    )


def committed(target: Target, token: uuid.UUID, lost: int) -> bool:
    """Ask the ledger, once the lost session is really gone and can't commit any more.

    Raises:
        Problem: The database doesn't answer any more, or that session doesn't end.
    """
    give_up = time.monotonic() + _RECONNECT_SECONDS
    while True:
        cause: Exception | None = None
        try:
            with connect(target.url, purpose="asking after a lost connection") as again:
                # As long as the lost session holds the deploy lock, it may still commit.
                if not holds_deploy_lock(again, lost):
                    return happened(again, token)
                why = "its session on the server hasn't ended"
        except (Problem, psycopg.OperationalError) as error:
            why, cause = "the database doesn't answer any more", error
        if time.monotonic() >= give_up:
            raise Problem(
                f"The connection was lost at commit, and {why}.",
                state="Either all of it was committed or nothing: the ledger will tell.",
                todo="In a minute, or when the database is back, run 'pymilk status': it reads the"
                " ledger.",
            ) from cause
        time.sleep(0.2)


def standing(target: Target, version: str) -> str:
    """One sentence of what the database says now of a migration, read over a new connection."""
    try:
        with connect(target.url, purpose="status") as connection:
            # Asked where something has failed already: nobody is to wait long for it.
            connection.execute("select set_config('lock_timeout', %s, false)", (_STANDING_WAITS,))
            applied = version in read_versions(connection)
            half = half_of(read_entries(connection, version), version)
    except (Problem, psycopg.Error) as error:
        return f"Unknown: {first_line(error).rstrip('.')}. Run 'pymilk status' when it is back."
    if applied:
        return f"{version} is applied, with all of its proof (read again just now)."
    if half is not None:
        return f"{version} is {half} (read again just now)."
    return f"{version} is not applied and nothing of it is there (read again just now)."
