"""Calls over Supabase: PostgREST, by the HTTP session of the `supabase` package.

Its session brings the address, the key, the signed-in user's token and the time-outs. The answer is
read from its text, since its own JSON reader would make floats of amounts.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import httpx

from pymilk.rpc import failures
from pymilk.rpc.call import Json, Rows
from pymilk.rpc.protocol import Exchange
from pymilk.rpc.reading import READABLE, parse
from pymilk.rpc.said import failure
from supabase import AsyncClient, Client

_OK: Final = range(200, 300)
_UNAUTHORIZED: Final = 401
# PostgREST reached no database, so nothing was sent there.
_NOT_CONNECTED: Final = frozenset({"PGRST000", "PGRST002", "PGRST003"})
# It lost its connection while it waited for the answer.
_LOST: Final = frozenset({"PGRST001", "57P01", "57P02", "57P03", "08000", "08003", "08006"})
_TOKEN: Final = frozenset({"PGRST300", "PGRST301", "PGRST302", "PGRST303"})
_BEFORE_SENDING: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Supabase:
    """A way to the database.

    Args:
        client: Whose HTTP session it goes by.
        schema: Where the functions are, when it isn't where the call says.
        owned: Whether that session was made for it, and is its own to close.

    Attributes:
        repeatable: Whether a call may be made again.
    """

    repeatable = True

    def __init__(self, client: Client, schema: str | None, *, owned: bool) -> None:
        self._client = client
        self._schema = schema
        self._owned = owned

    def execute(self, exchange: Exchange) -> Rows:
        """Make one attempt at a call."""
        api = self._client.postgrest
        url, headers, body = _request(exchange, str(api.base_url), api.headers, self._schema)
        with _telling(api.session):
            response = api.session.post(url, headers=headers, content=body)
        return _rows(exchange, response)

    def close(self) -> None:
        """Close the HTTP session, if it is its own."""
        if self._owned:
            self._client.postgrest.session.close()


class AsyncSupabase:
    """A way to the database, with async.

    Args:
        client: Whose HTTP session it goes by.
        schema: Where the functions are, when it isn't where the call says.
        owned: Whether that session was made for it, and is its own to close.

    Attributes:
        repeatable: Whether a call may be made again.
    """

    repeatable = True

    def __init__(self, client: AsyncClient, schema: str | None, *, owned: bool) -> None:
        self._client = client
        self._schema = schema
        self._owned = owned

    async def execute(self, exchange: Exchange) -> Rows:
        """Make one attempt at a call."""
        api = self._client.postgrest
        url, headers, body = _request(exchange, str(api.base_url), api.headers, self._schema)
        with _telling(api.session):
            response = await api.session.post(url, headers=headers, content=body)
        return _rows(exchange, response)

    async def close(self) -> None:
        """Close the HTTP session, if it is its own."""
        if self._owned:
            await self._client.postgrest.session.aclose()


def _request(
    exchange: Exchange, base_url: str, given: Mapping[str, str], schema: str | None
) -> tuple[str, dict[str, str], bytes]:
    call, key = exchange.call, exchange.key
    if exchange.dry_run:
        raise ValueError("a dry run needs a transaction to roll back: use Client.postgres")
    headers = {
        **{name.lower(): value for name, value in given.items()},
        "content-type": "application/json",
        "content-profile": schema or call.schema,
        "accept-profile": schema or call.schema,
    }
    if key is not None:
        if not (key.isascii() and key.isprintable()):
            raise ValueError("over HTTP an idempotency key is of printable ASCII")
        headers["idempotency-key"] = key
    arguments = {each.name: each.value for each in call.arguments}
    return f"{base_url.rstrip('/')}/rpc/{call.function}", headers, json.dumps(arguments).encode()


@contextmanager
def _telling(session: httpx.Client | httpx.AsyncClient) -> Iterator[None]:
    """What becomes of a request that gets no answer."""
    if session.is_closed:
        raise failures.NotConnected("The HTTP session is closed.")
    try:
        yield
    except _BEFORE_SENDING as error:
        raise failures.NotConnected(str(error)) from error
    except httpx.RequestError as error:  # time-outs among them, and what can't be decoded
        said = str(error) or type(error).__name__
        raise failures.OutcomeUnknown(said) from error


def _rows(exchange: Exchange, response: httpx.Response) -> Rows:
    returns = exchange.call.returns
    if response.status_code not in _OK:
        raise _failure(exchange, response)
    if not response.content:
        return []
    try:
        found = parse(response.content)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:  # a page of somebody in between
        raise failures.GatewayError(response.status_code, response.text) from error
    except ValueError as error:
        raise failures.UnexpectedAnswer(READABLE, response.content[:200]) from error
    if not returns.several:
        return [found]
    if not isinstance(found, list):
        raise failures.UnexpectedAnswer("a list", found)
    return found


def _failure(exchange: Exchange, response: httpx.Response) -> failures.PymilkError:
    status, said = response.status_code, _said(response)
    code = str(said.get("code") or "")
    message = str(said.get("message") or "")
    detail, hint = said.get("details"), said.get("hint")
    if code in _TOKEN or (status == _UNAUTHORIZED and not code):
        return failures.NotSignedIn(message, status=status)
    if code in _NOT_CONNECTED:
        return failures.NotConnected(message, status=status)
    if code in _LOST:
        return failures.OutcomeUnknown(message, status=status)
    if not code:
        return failures.GatewayError(status, response.text)
    if code.startswith("PGRST") and code not in {"PGRST202", "PGRST203"}:
        return failures.RequestRefused(code, message, hint=str(hint or ""), status=status)
    return failure(
        exchange.call.refusals,
        code,
        message,
        detail=None if detail is None else str(detail),
        hint=None if hint is None else str(hint),
        status=status,
        inside=True,
    )


def _said(response: httpx.Response) -> Mapping[str, Json]:
    try:
        said: Any = parse(response.content)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
