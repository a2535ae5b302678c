"""Report a call that failed: a refusal rolls back all that its call wrote, its own log row as well.

So the client writes it apart, in a transaction of its own, by a function of the database. That is
best effort: whatever becomes of the report, the call's own error is what the caller gets.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymilk.rpc import reading
from pymilk.rpc.call import Call, argument, given
from pymilk.rpc.failures import DatabaseError, PymilkError, Refusal

if TYPE_CHECKING:
    from pymilk.rpc.call import Json

# What names the payment among a function's arguments.
_PAYMENT = "p_payment_id"


@dataclass(frozen=True, slots=True)
class Reporting:
    """Where failed calls are reported.

    Attributes:
        function: The function that takes a report: p_function, p_reason, p_payment_id, p_key and
            p_detail; docs/templates/failed_allocations.sql makes it.
        schema: Where it is.
    """

    function: str = "report_failed_allocation"
    schema: str = "public"


def is_reported(error: PymilkError) -> bool:
    """Whether the database has answered: over a line that is gone nothing can be reported."""
    return isinstance(error, Refusal | DatabaseError)


def report_of(
    reporting: Reporting, call: Call[Any], error: PymilkError, key: str | None
) -> Call[None]:
    """The call that reports another one."""
    payment = next((each.value for each in call.arguments if each.name == _PAYMENT), None)
    detail: dict[str, Json] = dict(error.detail)
    if isinstance(error, DatabaseError):
        detail["sqlstate"] = error.sqlstate
    return Call(
        reporting.function,
        given(
            argument("p_function", "text", call.function),
            argument("p_reason", "text", error.reason),
            argument("p_payment_id", "uuid", payment),
            argument("p_key", "text", key),
            argument("p_detail", "jsonb", detail),
        ),
        reading.nothing(),
        reporting.schema,
    )
