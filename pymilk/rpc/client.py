"""The client: a call goes in, its result comes out or one of `errors` is raised."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import psycopg

from pymilk.rpc.call import Call, Json
from pymilk.rpc.postgres import Borrowed, Dialled

T = TypeVar("T")


class Transport(Protocol):
    """A way to the database."""

    def execute(self, call: Call[Any], key: str | None) -> Sequence[Json]:
        """Make a call under an idempotency key; gives the rows that came back."""

    def close(self) -> None:
        """Let go of what it holds."""


class Client:
    """Makes calls, one after the other.

    Example:
        ```
        with Client.postgres(dsn) as client:
            result = client.call(
                rpc.allocate_payment_atomic(
                    payment_id=payment, allocations=[rpc.Allocation(invoice, Decimal("300.00"))]
                ),
                idempotency_key="till-3/0042",
            )
        ```
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @classmethod
    def postgres(cls, where: str | psycopg.Connection[Any]) -> Self:
        """A client on a direct connection.

        Args:
            where: A DSN: each call is a transaction of its own, committed when it returns. Or an
                open connection: the calls are part of its transaction, which is never committed
                here, and a call that fails leaves that transaction as it was.
        """
        return cls(Dialled(where) if isinstance(where, str) else Borrowed(where))

    def call(self, call: Call[T], *, idempotency_key: str | None = None) -> T:
        """Make a call.

        Args:
            call: From `rpc`.
            idempotency_key: Names this request, for one that may have to be made again: the same
                key and arguments give the first answer again instead of a second effect.

        Raises:
            PymilkError: One of `errors`; its class tells what happened.
            ValueError: The key is empty, which the database could not tell from none.
        """
        if idempotency_key == "":
            message = "an idempotency key can't be empty"
            raise ValueError(message)
        return call.read(self._transport.execute(call, idempotency_key))

    def close(self) -> None:
        """Close the client's own connection; a connection that was given stays open."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
