"""The log around a bulk run.

A run that is refused rolls back everything of its own, so whoever makes it writes the log around
it, in transactions of their own.
"""

from typing import Any, Protocol, TypeVar

from pymilk.rpc.call import Call, plain
from pymilk.rpc.failures import OutcomeUnknown, PymilkError
from pymilk.rpc.functions import log_bulk_operation, update_bulk_operation_status
from pymilk.rpc.protocol import Calls, Keyed


class Outcomes(Protocol):
    """What a bulk run answers: among others, what became of each."""

    @property
    def outcomes(self) -> list[Any]:
        """What became of each."""


R = TypeVar("R", bound=Outcomes)


def logged(run: Call[R], *, idempotency_key: str | None = None) -> Calls[R]:
    """A bulk run with its log around it, for `client.calls`.

    The log is there before the run. It is completed with the run's outcomes, or failed with what
    the run was refused for. When nobody can tell whether the run was written, it stays `running`.

    Example:
        ```
        done = client.calls(logged(rpc.generate_bulk_invoices_atomic(
            period_start=first, period_end=last, customer_ids=None
        )))
        ```

    Args:
        run: `rpc.generate_bulk_invoices_atomic(…)` or `rpc.delete_bulk_invoices_safe(…)`.
        idempotency_key: The run's.

    Raises:
        PymilkError: The run's own failure; the log has it by then.
    """
    parameters = {each.name: each.value for each in run.arguments}
    log = yield Keyed(log_bulk_operation(operation=run.function, parameters=parameters))
    try:
        result: R = yield Keyed(run, idempotency_key)
    except OutcomeUnknown:
        raise
    except PymilkError as failure:
        yield Keyed(update_bulk_operation_status(id=log.id, status="failed", error=str(failure)))
        raise
    outcomes = [plain(each) for each in result.outcomes]
    yield Keyed(update_bulk_operation_status(id=log.id, status="completed", outcomes=outcomes))
    return result
