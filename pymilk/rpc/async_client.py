"""The client, with async: the same calls, the same results, the same errors."""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pymilk.rpc.call import Call, Rows
from pymilk.rpc.client import RETRY, AsyncTransport
from pymilk.rpc.outcome import Outcome, outcome_of
from pymilk.rpc.protocol import Calls, Keyed, Pause, Retry, Step, arun, making, telling
from pymilk.rpc.reporting import Reporting, Reports

if TYPE_CHECKING:
    import psycopg
    from httpx import Timeout
    from psycopg_pool import AsyncConnectionPool

    import supabase

T = TypeVar("T")


class AsyncClient:
    """Makes calls; tasks may share it. What its methods take and raise stands in `Client`."""

    def __init__(
        self,
        transport: AsyncTransport,
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
        where: "str | psycopg.AsyncConnection[Any] | AsyncConnectionPool[Any]",
        *,
        schema: str | None = None,
        retry: Retry = RETRY,
        reporting: Reporting | None = None,
    ) -> Self:
        """A client on psycopg: a DSN, a pool or an open connection; see `Client.postgres`."""
        from pymilk.rpc.lending import AsyncPostgres  # noqa: PLC0415 - only for who needs it

        return cls(AsyncPostgres(where, schema), retry, reporting)

    @classmethod
    def supabase(  # noqa: PLR0913 - a setting each
        cls,
        url: "str | supabase.AsyncClient",
        key: str = "",
        *,
        token: str | None = None,
        schema: str | None = None,
        timeout: "float | Timeout | None" = None,
        headers: Mapping[str, str] | None = None,
        retry: Retry = RETRY,
        reporting: Reporting | None = None,
    ) -> Self:
        """A client on Supabase's API; see `Client.supabase`."""
        from pymilk.rpc.dialling import dial_async  # noqa: PLC0415 - only for who needs it
        from pymilk.rpc.rest import AsyncSupabase  # noqa: PLC0415

        found = dial_async(url, key, token, timeout, headers) if isinstance(url, str) else url
        return cls(AsyncSupabase(found, schema, owned=isinstance(url, str)), retry, reporting)

    async def call(
        self, call: Call[T], *, idempotency_key: str | None = None, dry_run: bool = False
    ) -> T:
        """Make a call; see `Client.call`."""
        steps = making(
            call,
            key=idempotency_key,
            dry_run=dry_run,
            repeatable=self._transport.repeatable,
            retry=self._retry,
            reports=None if dry_run else self._reports,
        )
        return await arun(steps, self._act)

    async def calls(self, calls: Calls[T]) -> T:
        """Make several calls that come to one result, such as `logged(…)`."""
        return await arun(calls, self._make)

    async def outcome(self, key: str) -> Outcome:
        """What became of the call under this key; one that is still in flight is waited for."""
        return await self.call(outcome_of(key))

    async def close(self) -> None:
        """Tell what is to be reported, and close a connection of its own; one given stays open."""
        try:
            if self._reports is not None:
                await arun(telling(self._reports), self._act)
        finally:
            await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _make(self, asked: Keyed) -> object:
        return await self.call(asked.call, idempotency_key=asked.key)

    async def _act(self, step: Step) -> Rows:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return ()
        return await self._transport.execute(step)
