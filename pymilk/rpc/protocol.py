"""A call from its first attempt to its end, without input or output.

What is to be done is yielded; whoever drives it does that, and sends back what came of it. So the
same code makes a call over any transport, with and without async; only `run` and `arun` differ.
"""

import logging
import random
from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, TypeAlias, TypeVar
from uuid import uuid4

from pymilk.rpc.call import Call, Key, Rows
from pymilk.rpc.failures import (
    DatabaseError,
    NotConnected,
    OutcomeUnknown,
    PymilkError,
    Refusal,
)
from pymilk.rpc.reporting import Report, Reports

T = TypeVar("T")
Asked = TypeVar("Asked")
Told = TypeVar("Told")

# What ends a call from outside of it: its steps still have to leave a connection as it was.
INTERRUPTED: Final = (KeyboardInterrupt, CancelledError)

_log = logging.getLogger("pymilk.rpc")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One attempt at a call.

    Attributes:
        call: The call.
        key: The idempotency key that it is made under.
        dry_run: Whether what it writes is undone.
    """

    call: Call[Any]
    key: str | None
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Pause:
    """A wait before the next attempt.

    Attributes:
        seconds: How long.
    """

    seconds: float


Step: TypeAlias = Exchange | Pause


@dataclass(frozen=True, slots=True)
class Keyed:
    """A call and the key that it is to be made under.

    Attributes:
        call: The call.
        key: Its idempotency key, or none.
    """

    call: Call[Any]
    key: str | None = None


Calls: TypeAlias = Generator[Keyed, Any, T]
"""Several calls, one after the other, that come to one result: see `pymilk.rpc.bulk`."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a call is attempted, and how long it waits in between.

    A call is only repeated under an idempotency key, and only after what may pass: a deadlock, a
    write conflict, a lock held too long, a lost connection, a gateway's error.

    Attributes:
        attempts: At most; 1 repeats nothing.
        shortest: Seconds before the second attempt, at most; it doubles with each.
        longest: Seconds before any attempt, at most.
    """

    attempts: int = 5
    shortest: float = 0.1
    longest: float = 5.0

    def pause(self, attempt: int) -> Pause:
        """The wait after an attempt: of any length up to its limit, so that callers spread."""
        limit = min(self.longest, self.shortest * 2 ** (attempt - 1))
        return Pause(random.uniform(0, limit))  # noqa: S311 - nobody gains by guessing it


def making(  # noqa: PLR0913 - what decides on an attempt, one each
    call: Call[T],
    *,
    key: str | None,
    dry_run: bool,
    repeatable: bool,
    retry: Retry,
    reports: Reports | None = None,
) -> Generator[Step, Rows, T]:
    """Make a call, again where that is safe, and read its answer.

    Args:
        call: The call.
        key: The caller's idempotency key; without one, a function that takes keys gets a new one.
        dry_run: Whether what it writes is undone.
        repeatable: Whether the transport can make it again: not within somebody's transaction.
        retry: How often.
        reports: What is to be reported, where failed calls are.

    Raises:
        PymilkError: It didn't come to a result. When one attempt may have been written and those
            after it could not tell, it is that attempt's OutcomeUnknown.
        ValueError: The key is empty, or the function takes none.
    """
    key = _key(call, key, made=repeatable and not dry_run)
    doubt: OutcomeUnknown | None = None
    for attempt in count(1):
        try:
            rows = yield Exchange(call, key, dry_run)
        except PymilkError as error:
            error.idempotency_key = key
            doubt = error if isinstance(error, OutcomeUnknown) else doubt
            again = error.again and key is not None and repeatable and not dry_run
            if again and attempt < retry.attempts:
                pause = retry.pause(attempt)
                _log.warning(
                    "%s: %s; attempt %d in %.2f s, key %s",
                    *(call.function, error.reason, attempt + 1, pause.seconds, key),
                )
                yield pause
                continue
            _log.info("%s: %s after %d attempts, key %s", call.function, error.reason, attempt, key)
            # A later refusal is final: it was made after the key was looked up.
            final = error if doubt is None or isinstance(error, Refusal) else doubt
            if reports is not None:
                reports.keep(Report(call, final, key))
                # Over a line that is gone nothing can be told.
                if isinstance(error, Refusal | DatabaseError):
                    yield from telling(reports)
            if final is error:
                raise
            raise final from error
        break
    if reports is not None:
        yield from telling(reports)
    _log.debug("%s: done at attempt %d, key %s", call.function, attempt, key)
    try:
        return call.returns.read(rows)
    except PymilkError as error:
        error.idempotency_key = key
        raise


def telling(reports: Reports) -> Generator[Step, Rows, None]:
    """Report the failed calls that wait for it, each once; that this fails is nobody's error."""
    while (report := reports.take()) is not None:
        try:
            yield Exchange(reports.call_of(report), None, dry_run=False)
        except NotConnected:
            reports.put_back(report)
            return
        except PymilkError as error:
            # Not again where it may have been written: two reports would be two failures.
            _log.info("a failed call could not be reported: %s", error.reason)
            if isinstance(error, OutcomeUnknown):
                return


def run(steps: Generator[Asked, Told, T], act: Callable[[Asked], Told]) -> T:
    """Drive steps: do each, and give back what came of it."""
    try:
        asked = next(steps)
        while True:
            try:
                told = act(asked)
            except (Exception, *INTERRUPTED) as error:  # noqa: BLE001 - the steps decide on it
                asked = steps.throw(error)
            else:
                asked = steps.send(told)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        steps.close()


async def arun(steps: Generator[Asked, Told, T], act: Callable[[Asked], Awaitable[Told]]) -> T:
    """Drive steps, where doing one has to be waited for."""
    try:
        asked = next(steps)
        while True:
            try:
                told = await act(asked)
            except (Exception, *INTERRUPTED) as error:  # noqa: BLE001 - the steps decide on it
                asked = steps.throw(error)
            else:
                asked = steps.send(told)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        steps.close()


def _key(call: Call[Any], key: str | None, *, made: bool) -> str | None:
    if key is None:
        return str(uuid4()) if made and call.key is Key.OF_THIS_CALL else None
    if not key:
        raise ValueError("an idempotency key can't be empty")
    if call.key is Key.NOT_TAKEN:
        raise ValueError(f"{call.function} knows no idempotency keys: made twice, it acts twice")
    return key
