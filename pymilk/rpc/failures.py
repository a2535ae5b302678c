"""What a call can end in but its result. A class's first line is its sentence.

The refusals of the database's own functions, one class a reason, are generated from these.
"""

# ruff: noqa: N818 - a name says what happened: errors.Deadlock

import re
from collections.abc import Mapping
from typing import ClassVar

from pymilk.rpc.call import Json

__all__ = [
    "ConnectionLost",
    "ConstraintBroken",
    "DatabaseError",
    "Deadlock",
    "ExceptionRaised",
    "FunctionAmbiguous",
    "FunctionMissing",
    "GatewayError",
    "LockTimeout",
    "NotAllowed",
    "NotConnected",
    "NotSignedIn",
    "OutcomeUnknown",
    "PymilkError",
    "Refusal",
    "RequestRefused",
    "TimedOut",
    "Transient",
    "UnexpectedAnswer",
    "WriteConflict",
]


class PymilkError(Exception):
    """The call did not come to a result.

    Attributes:
        reason: A stable name: what the function raised, such as `allocation_exceeds_payment`; else
            the class's own, such as `deadlock`.
        detail: The facts, as far as the database tells any.
        hint: A sentence of what to do; may be empty.
        status: The HTTP status: the one that came, or the one that PostgREST would answer with;
            None where neither is known.
        idempotency_key: The key that the call was made under, which `Client.outcome` takes.
    """

    again: ClassVar[bool] = False
    """Whether the same call under the same key can end otherwise a moment later."""

    def __init__(
        self,
        *facts: str,
        reason: str = "",
        detail: Mapping[str, Json] | None = None,
        hint: str = "",
        status: int | None = None,
    ) -> None:
        super().__init__(" ".join(filter(None, [self._sentence(), *facts])))
        self.reason = reason or snake_case(type(self).__name__)
        self.detail: Mapping[str, Json] = detail or {}
        self.hint = hint
        self.status = status
        self.idempotency_key: str | None = None

    @classmethod
    def _sentence(cls) -> str:
        return (cls.__doc__ or "").partition("\n")[0]


# What the functions refuse: raised in the database, so nothing of the call was written.


class Refusal(PymilkError):
    """The database refused the call; nothing was written.

    Attributes:
        reason: The stable name that the function raised, such as `allocation_exceeds_payment`.
        detail: The facts; amounts exactly.
        hint: A sentence of what to do.
        status: What PostgREST answers for it over HTTP: 400, 403, 404, 409 or 422.
    """

    status: int

    def __init__(self, reason: str, detail: Mapping[str, Json], hint: str, status: int) -> None:
        facts = ", ".join(f"{name} {value}" for name, value in detail.items())
        words = f"{reason.replace('_', ' ').capitalize()}." if reason else ""
        super().__init__(
            words,
            f"({facts})" if facts else "",
            hint,
            reason=reason,
            detail=detail,
            hint=hint,
            status=status,
        )

    @classmethod
    def _sentence(cls) -> str:
        return ""  # the reason says it


# What the database says by itself. Nothing of the call was written in any of them.


class DatabaseError(PymilkError):
    """The database reported an error; nothing of this call was written.

    Attributes:
        sqlstate: Postgres's five characters for it.
    """

    def __init__(
        self,
        sqlstate: str,
        said: str,
        *,
        detail: Mapping[str, Json] | None = None,
        hint: str = "",
        status: int | None = None,
    ) -> None:
        super().__init__(said, detail=detail, hint=hint, status=status)
        self.sqlstate = sqlstate


class NotAllowed(DatabaseError):
    """This role may not do that; nothing was written."""


class FunctionMissing(DatabaseError):
    """The database has no such function with these arguments: not deployed, or rolled back."""


class FunctionAmbiguous(DatabaseError):
    """Several functions of this name take these arguments, and the database can't choose."""


class ConstraintBroken(DatabaseError):
    """A constraint of the database refused the call; nothing was written."""


class ExceptionRaised(DatabaseError):
    """The function raised an exception that has no reason of its own; nothing was written."""


class Transient(DatabaseError):
    """The call met another one and lost; nothing was written. The same call can be made again."""

    again = True


class Deadlock(Transient):
    """Two calls waited for each other and this one was ended; nothing was written. Repeat it."""


class WriteConflict(Transient):
    """Another transaction changed the same rows first; nothing was written. Repeat it."""


class LockTimeout(Transient):
    """Another session held a lock for too long; nothing was written. Repeat it."""


class TimedOut(Transient):
    """The call ran out of the database's time or was cancelled; nothing was written."""

    again = False  # not by itself: it would most likely take as long again


# What becomes of the way there.


class NotConnected(PymilkError):
    """The database can't be reached; nothing was sent."""

    again = True


class NotSignedIn(PymilkError):
    """The key or the user's token is missing, wrong or expired; nothing was done."""


class RequestRefused(PymilkError):
    """The API refused the request before the database was asked; nothing was done.

    Attributes:
        code: PostgREST's code, such as PGRST106: the schema isn't exposed.
    """

    def __init__(self, code: str, said: str, *, hint: str = "", status: int | None = None) -> None:
        super().__init__(f"{code}: {said}", hint, hint=hint, status=status)
        self.code = code


class ConnectionLost(PymilkError):
    """The connection was lost inside a transaction that is the caller's; nothing was written."""


class OutcomeUnknown(ConnectionLost):
    """The connection was lost before the answer came: the call may have been written, or not.

    The same call under the same key is safe to make, and settles it;
    `client.outcome(error.idempotency_key)` tells what is known. Without a key, look at what it
    would have written before anything else.
    """

    again = True


class GatewayError(OutcomeUnknown):
    """Something between here and the API answered instead of it; the call may have been made.

    Attributes:
        said: The beginning of what it said, a page of HTML perhaps.
    """

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"HTTP {status}: {said[:200]}", status=status)
        self.said = said[:10_000]


class UnexpectedAnswer(PymilkError):
    """The function's answer isn't what this client knows: one of the two is too old.

    The call itself was made, and stays when its transaction is committed.
    """

    def __init__(self, expected: str, found: object) -> None:
        super().__init__(f"Expected {expected}, found {found!r}.")


def snake_case(name: str) -> str:
    """`AmountInvalid` as `amount_invalid`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
