"""Where a call over psycopg gets its connection from, and whether it may be made again."""

from asyncio import Lock as AsyncLock
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias

import psycopg
from psycopg.pq import TransactionStatus

from pymilk.rpc.call import Rows
from pymilk.rpc.failures import NotConnected
from pymilk.rpc.postgres import AnyConnection, ask, ask_async, conversation
from pymilk.rpc.protocol import Exchange, arun, run

if TYPE_CHECKING:
    from psycopg_pool import AsyncConnectionPool, ConnectionPool

Connection: TypeAlias = psycopg.Connection[Any]
AsyncConnection: TypeAlias = psycopg.AsyncConnection[Any]
Lend: TypeAlias = Callable[[], AbstractContextManager[Connection]]
AsyncLend: TypeAlias = Callable[[], AbstractAsyncContextManager[AsyncConnection]]

# Poolers that hand out a session per transaction know no prepared statements.
_SETTINGS: dict[str, Any] = {
    "autocommit": True,
    "prepare_threshold": None,
    "application_name": "pymilk",
}


class Postgres:
    """A way to the database.

    Attributes:
        repeatable: Whether a call may be made again: it isn't part of somebody's transaction.
    """

    def __init__(self, where: "str | Connection | ConnectionPool[Any]", schema: str | None) -> None:
        self.repeatable = not isinstance(where, psycopg.Connection)
        self._schema = schema
        self._dialled = Dialled(where) if isinstance(where, str) else None
        self._lend: Lend
        if self._dialled is not None:
            self._lend = self._dialled.lend
        elif isinstance(where, psycopg.Connection):
            self._lend = partial(_borrowed, where, Lock())
        elif not isinstance(where, str):
            self._lend = partial(_out_of, where)

    def execute(self, exchange: Exchange) -> Rows:
        """Make one attempt at a call."""
        with self._lend() as connection:
            return run(conversation(connection, exchange, self._schema), partial(ask, connection))

    def close(self) -> None:
        """Close the connection of its own, if it has one."""
        if self._dialled is not None:
            self._dialled.close()


class AsyncPostgres:
    """A way to the database, with async.

    Attributes:
        repeatable: Whether a call may be made again: it isn't part of somebody's transaction.
    """

    def __init__(
        self, where: "str | AsyncConnection | AsyncConnectionPool[Any]", schema: str | None
    ) -> None:
        self.repeatable = not isinstance(where, psycopg.AsyncConnection)
        self._schema = schema
        self._dialled = AsyncDialled(where) if isinstance(where, str) else None
        self._lend: AsyncLend
        if self._dialled is not None:
            self._lend = self._dialled.lend
        elif isinstance(where, psycopg.AsyncConnection):
            self._lend = partial(_borrowed_async, where, AsyncLock())
        elif not isinstance(where, str):
            self._lend = partial(_out_of_async, where)

    async def execute(self, exchange: Exchange) -> Rows:
        """Make one attempt at a call."""
        async with self._lend() as connection:
            return await arun(
                conversation(connection, exchange, self._schema), partial(ask_async, connection)
            )

    async def close(self) -> None:
        """Close the connection of its own, if it has one."""
        if self._dialled is not None:
            await self._dialled.close()


class Dialled:
    """A connection of its own, opened when first needed and again after it was lost."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: Connection | None = None
        self._turn = Lock()

    @contextmanager
    def lend(self) -> Iterator[Connection]:
        """The connection; others wait for it, whichever thread they come from."""
        with self._turn:
            if not _usable(self._connection):
                if self._connection is not None:
                    self._connection.close()
                try:
                    self._connection = psycopg.connect(self._dsn, **_SETTINGS)
                except psycopg.Error as error:  # a DSN that can't be read among them
                    raise NotConnected(str(error)) from error
            assert self._connection is not None  # noqa: S101 - for the type checker
            yield self._connection

    def close(self) -> None:
        """Close it; the next call would open another."""
        with self._turn:
            if self._connection is not None:
                self._connection.close()


class AsyncDialled:
    """A connection of its own, opened when first needed and again after it was lost."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: AsyncConnection | None = None
        self._turn = AsyncLock()

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[AsyncConnection]:
        """The connection; other tasks wait for it."""
        async with self._turn:
            if not _usable(self._connection):
                if self._connection is not None:
                    await self._connection.close()
                try:
                    self._connection = await psycopg.AsyncConnection.connect(self._dsn, **_SETTINGS)
                except psycopg.Error as error:  # a DSN that can't be read among them
                    raise NotConnected(str(error)) from error
            assert self._connection is not None  # noqa: S101 - for the type checker
            yield self._connection

    async def close(self) -> None:
        """Close it; the next call would open another."""
        async with self._turn:
            if self._connection is not None:
                await self._connection.close()


@contextmanager
def _borrowed(connection: Connection, turn: Lock) -> Iterator[Connection]:
    """Somebody's connection: its owner begins, commits, rolls back and closes."""
    with turn:
        yield connection


@asynccontextmanager
async def _borrowed_async(
    connection: AsyncConnection, turn: AsyncLock
) -> AsyncIterator[AsyncConnection]:
    """Somebody's connection: its owner begins, commits, rolls back and closes."""
    async with turn:
        yield connection


@contextmanager
def _out_of(pool: "ConnectionPool[Any]") -> Iterator[Connection]:
    """A pool's connection for one call, which is a transaction of its own."""
    try:
        connection = pool.getconn()
    except psycopg.OperationalError as error:  # none came free in time, or the pool is closed
        raise NotConnected(str(error)) from error
    before = connection.autocommit
    try:
        if not before and not connection.closed:
            _set_apart(connection)
        yield connection
    finally:
        try:
            if not before and _usable(connection):
                connection.autocommit = before
        finally:  # whatever happened: what isn't given back, the pool never has again
            _end_unless(connection, autocommit=before)
            pool.putconn(connection)


@asynccontextmanager
async def _out_of_async(pool: "AsyncConnectionPool[Any]") -> AsyncIterator[AsyncConnection]:
    """A pool's connection for one call, which is a transaction of its own."""
    try:
        connection = await pool.getconn()
    except psycopg.OperationalError as error:  # none came free in time, or the pool is closed
        raise NotConnected(str(error)) from error
    before = connection.autocommit
    try:
        if not before and not connection.closed:
            await _set_apart_async(connection)
        yield connection
    finally:
        try:
            if not before and _usable(connection):
                await connection.set_autocommit(before)
        finally:  # whatever happened: what isn't given back, the pool never has again
            _end_unless(connection, autocommit=before)
            await pool.putconn(connection)


def _set_apart(connection: Connection) -> None:
    """Make what follows a transaction of its own.

    Raises:
        NotConnected: The connection was lost.
    """
    try:
        if not _usable(connection):  # the pool has looked at it, which has begun a transaction
            connection.rollback()
        connection.autocommit = True
    except psycopg.OperationalError as error:
        raise NotConnected(str(error)) from error


async def _set_apart_async(connection: AsyncConnection) -> None:
    """Make what follows a transaction of its own.

    Raises:
        NotConnected: The connection was lost.
    """
    try:
        if not _usable(connection):  # the pool has looked at it, which has begun a transaction
            await connection.rollback()
        await connection.set_autocommit(True)
    except psycopg.OperationalError as error:
        raise NotConnected(str(error)) from error


def _end_unless(connection: AnyConnection, *, autocommit: bool) -> None:
    """End a connection of a pool that isn't in the mode that it came in, so that it is replaced.

    A call that was interrupted can leave it in the middle of a transaction, where the mode can't be
    changed. The pool would roll that back and go on lending it, and nobody had transactions on it.
    """
    if connection.autocommit != autocommit:
        connection.pgconn.finish()  # not `close`, by which a pool may mean to be given it back


def _usable(connection: AnyConnection | None) -> bool:
    """Whether it can take the next call: open, and not left in the middle of an interrupted one."""
    return (
        connection is not None
        and not connection.closed
        and connection.pgconn.transaction_status == TransactionStatus.IDLE
    )
