"""The client: a call goes in, its result comes out or one of `errors` is raised."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar

from pymilk.rpc.call import Call, Rows
from pymilk.rpc.outcome import Outcome, outcome_of
from pymilk.rpc.protocol import Calls, Exchange, Keyed, Pause, Retry, Step, making, run, telling
from pymilk.rpc.reporting import Reporting, Reports

if TYPE_CHECKING:
    import psycopg
    from httpx import Timeout
    from psycopg_pool import ConnectionPool

    import supabase

T = TypeVar("T")
RETRY: Final = Retry()


class Transport(Protocol):
    """A way to the database."""

    repeatable: bool

    def execute(self, exchange: Exchange) -> Rows:
        """Make one attempt at a call; gives the rows that came back."""

    def close(self) -> None:
        """Let go of what it holds."""


class AsyncTransport(Protocol):
    """A way to the database, with async."""

    repeatable: bool

    async def execute(self, exchange: Exchange) -> Rows:
        """Make one attempt at a call; gives the rows that came back."""

    async def close(self) -> None:
        """Let go of what it holds."""


class Client:
    """Makes calls, one after the other; threads may share it.

    Example:
        ```
        with Client.postgres(dsn) as client:
            result = client.call(
                rpc.allocate_payment_atomic(
                    payment_id=payment,
                    allocations=[{"invoice_id": invoice, "amount": Decimal("300.00")}],
                ),
                idempotency_key="till-3/0042",
            )
        ```
    """

    def __init__(
        self,
        transport: Transport,
        retry: Retry = RETRY,
        reporting: Reporting | None = None,
    ) -> None:
        self._transport = transport
        self._retry = retry
        # In somebody's transaction a report would go the way of the call.
        self._reports = Reports(reporting) if reporting and transport.repeatable else None

    @classmethod
    def postgres(
        cls,
        where: "str | psycopg.Connection[Any] | ConnectionPool[Any]",
        *,
        schema: str | None = None,
        retry: Retry = RETRY,
        reporting: Reporting | None = None,
    ) -> Self:
        """A client on psycopg.

        Args:
            where: A DSN: each call is a transaction of its own, committed when it returns, on one
                connection that calls take turns on. A pool: likewise, each on one of its
                connections. Or an open connection: the calls are part of its transaction, which is
                never committed here, and a call that fails leaves that transaction as it was; so
                does one that is interrupted, unless it was done by then.
            schema: Where the functions are, when it isn't the schema they were generated from.
            retry: How often a call is attempted; on an open connection it is once.
            reporting: Where failed calls are reported; by default nowhere, and from an open
                connection never. See `pymilk.rpc.reporting`.
        """
        from pymilk.rpc.lending import Postgres  # noqa: PLC0415 - a driver only for who needs it

        return cls(Postgres(where, schema), retry, reporting)

    @classmethod
    def supabase(  # noqa: PLR0913 - a setting each
        cls,
        url: "str | supabase.Client",
        key: str = "",
        *,
        token: str | None = None,
        schema: str | None = None,
        timeout: "float | Timeout | None" = None,
        headers: Mapping[str, str] | None = None,
        retry: Retry = RETRY,
        reporting: Reporting | None = None,
    ) -> Self:
        """A client on Supabase's API.

        Args:
            url: The project's URL; or a client of the `supabase` package, signed in or not, whose
                session is then used as it is, and stays open.
            key: The project's key: anon or publishable, service_role or secret.
            token: A user's access token; without one the key says who is calling.
            schema: Where the functions are, when it isn't the schema they were generated from.
            timeout: Seconds that an answer is waited for; 120 unless said.
            headers: More headers for each request.
            retry: How often a call is attempted.
            reporting: Where failed calls are reported; by default nowhere.
        """
        from pymilk.rpc.dialling import dial  # noqa: PLC0415 - a package only for who needs it
        from pymilk.rpc.rest import Supabase  # noqa: PLC0415

        found = dial(url, key, token, timeout, headers) if isinstance(url, str) else url
        return cls(Supabase(found, schema, owned=isinstance(url, str)), retry, reporting)

    def call(
        self, call: Call[T], *, idempotency_key: str | None = None, dry_run: bool = False
    ) -> T:
        """Make a call.

        Args:
            call: From `rpc`.
            idempotency_key: Names this request, for one that may have to be made again: the same
                key and arguments give the first answer again instead of a second effect. Without
                one a function that takes keys gets a new one, so that it can be repeated here.
            dry_run: Run it and roll it back; on psycopg.

        Raises:
            PymilkError: One of `errors`; its class tells what happened.
            ValueError: The key is empty or the function takes none; or a dry run over Supabase.
        """
        steps = making(
            call,
            key=idempotency_key,
            dry_run=dry_run,
            repeatable=self._transport.repeatable,
            retry=self._retry,
            reports=None if dry_run else self._reports,
        )
        return run(steps, self._act)

    def calls(self, calls: Calls[T]) -> T:
        """Make several calls that come to one result, such as `logged(…)`."""
        return run(calls, self._make)

    def outcome(self, key: str) -> Outcome:
        """What became of the call under this key; one that is still in flight is waited for."""
        return self.call(outcome_of(key))

    def close(self) -> None:
        """Tell what is to be reported, and close a connection of its own; one given stays open."""
        try:
            if self._reports is not None:
                run(telling(self._reports), self._act)
        finally:
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

    def _make(self, asked: Keyed) -> object:
        return self.call(asked.call, idempotency_key=asked.key)

    def _act(self, step: Step) -> Rows:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return ()
        return self._transport.execute(step)
