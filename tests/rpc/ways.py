"""The ways to the functions: psycopg and Supabase, each with and without async, by one face."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import psycopg

from pymilk import AsyncClient, Client
from pymilk.rpc.call import Call
from pymilk.rpc.outcome import Outcome
from pymilk.rpc.protocol import Calls, Retry
from support.databases import Database, Templates
from support.gateway import Gateway, gateway
from support.postgrest import PostgREST, postgrest
from support.tools import tool

T = TypeVar("T")

WAYS = ("psycopg", "psycopg async", "supabase", "supabase async")
QUICK = Retry(attempts=4, shortest=0.001, longest=0.002)


class Caller(Protocol):
    """What `Client` does, and `AsyncClient` behind a bridge."""

    def call(
        self, call: Call[T], *, idempotency_key: str | None = None, dry_run: bool = False
    ) -> T:
        """Make a call."""

    def calls(self, calls: Calls[T]) -> T:
        """Make several calls."""

    def outcome(self, key: str) -> Outcome:
        """What became of a key."""


class Bridge:
    """An AsyncClient for code that doesn't wait: each method runs to its end."""

    def __init__(self, client: AsyncClient, runner: asyncio.Runner) -> None:
        self._client = client
        self._runner = runner

    def call(
        self, call: Call[T], *, idempotency_key: str | None = None, dry_run: bool = False
    ) -> T:
        """Make a call."""
        return self._runner.run(
            self._client.call(call, idempotency_key=idempotency_key, dry_run=dry_run)
        )

    def calls(self, calls: Calls[T]) -> T:
        """Make several calls."""
        return self._runner.run(self._client.calls(calls))

    def outcome(self, key: str) -> Outcome:
        """What became of a key."""
        return self._runner.run(self._client.outcome(key))


@dataclass(frozen=True)
class Office:
    """A database with everything deployed, and the API in front of it.

    Attributes:
        database: The database.
        api: PostgREST; None where it isn't installed.
        gateway: What Supabase has in front of that.
    """

    database: Database
    api: PostgREST | None
    gateway: Gateway | None


@contextmanager
def open_office(templates: Templates, script: Path) -> Iterator[Office]:
    """Everything deployed and a script run, and PostgREST in front of it where it is installed."""
    with templates.clone("dairy_hardened") as database, ExitStack() as running:
        with psycopg.connect(database.url, autocommit=True) as session:
            session.execute(script.read_bytes())
        if tool("postgrest") is None:
            yield Office(database, None, None)
            return
        api = running.enter_context(postgrest(database))
        yield Office(database, api, running.enter_context(gateway(api.port)))


@contextmanager
def lent(office: Office) -> Iterator[Office]:
    """An office that tests share, for one of them: sessions that it opens end with it."""
    with office.database.lent() as database:
        yield replace(office, database=database)


@contextmanager
def opened(
    way: str,
    office: Office,
    role: str = "service_role",
    **settings: Any,  # noqa: ANN401
) -> Iterator[Caller]:
    """A client that goes this way, as this role, until the block ends."""
    settings = {"retry": QUICK, **settings}
    if way == "psycopg":
        with Client.postgres(_dsn(office, role), **settings) as client:
            yield client
        return
    if way == "supabase":
        with Client.supabase(*_keys(office, role), **settings) as client:
            yield client
        return
    # psycopg waits on a loop that selects, as uvicorn's and everybody's on Linux do.
    with asyncio.Runner() as runner:
        if way == "psycopg async":
            made = AsyncClient.postgres(_dsn(office, role), **settings)
        else:
            made = AsyncClient.supabase(*_keys(office, role), **settings)
        yield Bridge(made, runner)
        runner.run(made.close())


def _dsn(office: Office, role: str) -> str:
    url = office.database.url
    return f"{url}{'&' if '?' in url else '?'}options=-crole%3D{role}"


def _keys(office: Office, role: str) -> tuple[str, str]:
    assert office.api is not None
    assert office.gateway is not None
    return office.gateway.url, office.api.token(role)
