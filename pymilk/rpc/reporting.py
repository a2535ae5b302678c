"""Report calls that failed: a refusal rolls back all that its call wrote, its own log row as well.

So the client writes it apart, in a transaction of its own, by a function of the database. That is
best effort: whatever becomes of the report, the call's own error is what the caller gets. What
can't be told at once, because the connection is what failed, is told when one works again.
"""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pymilk.rpc import reading
from pymilk.rpc.call import Call, argument, given
from pymilk.rpc.failures import DatabaseError, NotConnected, OutcomeUnknown, PymilkError, Refusal

if TYPE_CHECKING:
    from pymilk.rpc.call import Json

# What names the payment among a function's arguments.
_PAYMENT: Final = "p_payment_id"


@dataclass(frozen=True, slots=True)
class Reporting:
    """Where failed calls are reported.

    Refusals and errors of the database are reported at once. Calls whose answer never came
    (`outcome_unknown`), or that reached no database (`not_connected`), are with the next call that
    reaches it, or when the client is closed, which tries once to connect.

    Attributes:
        function: The function that takes a report: p_function, p_reason, p_payment_id, p_key and
            p_detail. The dairy's comes with its migration failed_allocations.
        schema: Where it is.
        kept: How many reports are kept that can't be told yet; the oldest go first.
    """

    function: str = "report_failed_allocation"
    schema: str = "public"
    kept: int = 100


@dataclass(frozen=True, slots=True)
class Report:
    """A call that failed, to be told.

    Attributes:
        call: The call.
        error: What its caller got.
        key: The idempotency key that it was made under.
        failed_at: When, by a clock that only goes forward, in seconds.
    """

    call: Call[Any]
    error: PymilkError
    key: str | None
    failed_at: float = field(default_factory=time.monotonic)


class Reports:
    """What a client has to report and could not yet; threads may share it.

    Args:
        reporting: Where to.
    """

    def __init__(self, reporting: Reporting) -> None:
        self._reporting = reporting
        self._waiting: deque[Report] = deque(maxlen=reporting.kept)

    def keep(self, report: Report) -> None:
        """Keep one to be told, if it is of a kind that is reported."""
        if isinstance(report.error, Refusal | DatabaseError | NotConnected | OutcomeUnknown):
            self._waiting.append(report)

    def put_back(self, report: Report) -> None:
        """Keep one that could not be told."""
        if len(self._waiting) < self._reporting.kept:
            self._waiting.appendleft(report)

    def take(self) -> Report | None:
        """The oldest that waits, if any: it is the taker's to tell."""
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def call_of(self, report: Report) -> Call[None]:
        """The call that tells it.

        Of a database's own error it says the SQLSTATE, not the detail, which may quote a whole row.
        """
        error = report.error
        payment = next(
            (each.value for each in report.call.arguments if each.name == _PAYMENT), None
        )
        reason = error.sqlstate if isinstance(error, DatabaseError) else error.reason
        detail: dict[str, Json] = dict(error.detail) if isinstance(error, Refusal) else {}
        late = int(time.monotonic() - report.failed_at)
        if late:
            detail["seconds_late"] = late
        return Call(
            self._reporting.function,
            given(
                argument("p_function", "text", report.call.function),
                argument("p_reason", "text", reason),
                argument("p_payment_id", "uuid", payment),
                argument("p_key", "text", report.key),
                argument("p_detail", "jsonb", detail),
            ),
            reading.nothing(),
            self._reporting.schema,
        )
