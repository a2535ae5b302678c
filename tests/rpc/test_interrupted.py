"""Calls that somebody interrupts: whoever's connection it is, it is then as it was before."""

import asyncio
import os
import signal
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from pymilk import AsyncClient, Client, rpc
from support.sessions import wait_until_blocked
from support.till import Connection, Till

PATIENCE = 5.0


class Struck(psycopg.Connection[TupleRow]):
    """Interrupted again, just before it goes back out of a transaction that failed."""

    def execute(self, *what: Any, **settings: Any) -> Any:  # noqa: ANN401 - as it is overloaded
        if self.info.transaction_status == TransactionStatus.INERROR:
            raise KeyboardInterrupt
        return super().execute(*what, **settings)


class AsyncStruck(psycopg.AsyncConnection[TupleRow]):
    """Cancelled again, just before it goes back out of a transaction that failed."""

    async def execute(self, *what: Any, **settings: Any) -> Any:  # noqa: ANN401
        if self.info.transaction_status == TransactionStatus.INERROR:
            await cancelled_here()
        return await super().execute(*what, **settings)


class Late(psycopg.AsyncConnection[TupleRow]):
    """Cancelled while its mode is set back, where psycopg lets other tasks have a turn."""

    async def set_autocommit(self, value: bool) -> None:  # noqa: FBT001 - as psycopg has it
        await super().set_autocommit(value)
        if not value:
            await cancelled_here()


async def cancelled_here() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


def allocate(till: Till, amount: int = 300) -> rpc.Call[rpc.AllocatePaymentAtomicResult]:
    return rpc.allocate_payment_atomic(
        payment_id=till.payment, allocations=[{"invoice_id": till.invoices[1], "amount": amount}]
    )


@pytest.fixture
def blocker(till: Till) -> Connection:
    """A session that each allocation of the till waits for."""
    connection = till.database.connect()
    connection.execute("select from public.payments where id = %s for update", [till.payment])
    return connection


def press_ctrl_c(till: Till, pid: int) -> None:
    """Once the session waits; also where it is never seen to, since nothing else would end it."""
    try:
        wait_until_blocked(till.database.connect(autocommit=True), pid)
    finally:
        os.kill(os.getpid(), signal.SIGINT)


async def cancelled(call: Coroutine[Any, Any, object], till: Till, pid: int) -> None:
    """Begin a call, and cancel it once its session waits."""
    watcher = till.database.connect(autocommit=True)
    waiting = asyncio.create_task(call)
    await asyncio.to_thread(wait_until_blocked, watcher, pid)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


@pytest.mark.usefixtures("blocker")
@pytest.mark.parametrize("kind", [psycopg.AsyncConnection, AsyncStruck])
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_cancelled_call_gives_a_pool_its_connection_back(
    till: Till, kind: type[psycopg.AsyncConnection[TupleRow]], *, dry_run: bool
) -> None:
    async def pay() -> None:
        async with AsyncConnectionPool(
            till.database.url, connection_class=kind, min_size=1, max_size=1, timeout=PATIENCE
        ) as pool:
            async with pool.connection() as connection:
                pid = connection.info.backend_pid
            call = AsyncClient.postgres(pool).call(allocate(till), dry_run=dry_run)
            await cancelled(call, till, pid)
            async with pool.connection() as connection:
                assert not connection.autocommit

    asyncio.run(pay())


@pytest.mark.usefixtures("blocker")
@pytest.mark.parametrize("kind", [psycopg.Connection, Struck])
@pytest.mark.parametrize("dry_run", [False, True])
def test_an_interrupted_call_gives_a_pool_its_connection_back(
    till: Till, kind: type[psycopg.Connection[TupleRow]], *, dry_run: bool
) -> None:
    with (
        ConnectionPool(
            till.database.url, connection_class=kind, min_size=1, max_size=1, timeout=PATIENCE
        ) as pool,
        ThreadPoolExecutor(1) as threads,
    ):
        with pool.connection() as connection:
            pid = connection.info.backend_pid
        threads.submit(press_ctrl_c, till, pid)
        with pytest.raises(KeyboardInterrupt):
            Client.postgres(pool).call(allocate(till), dry_run=dry_run)
        with pool.connection() as connection:
            assert not connection.autocommit


def test_a_pool_whose_connections_are_closed_by_giving_them_back(
    till: Till, blocker: Connection
) -> None:
    async def pay() -> None:
        async with AsyncConnectionPool(
            till.database.url,
            connection_class=AsyncStruck,
            close_returns=True,
            min_size=1,
            max_size=1,
            timeout=PATIENCE,
        ) as pool:
            connection = await pool.getconn()
            pid = connection.info.backend_pid
            await connection.close()
            client = AsyncClient.postgres(pool)
            dry = client.call(allocate(till), dry_run=True)
            await cancelled(dry, till, pid)
            blocker.rollback()
            answer = await client.call(allocate(till))
            assert answer.total_allocated == 300
            async with pool.connection() as connection:
                assert not connection.autocommit

    asyncio.run(pay())


def test_cancelled_while_it_is_given_back_a_connection_is_not_lost_to_its_pool(till: Till) -> None:
    async def pay() -> None:
        async with AsyncConnectionPool(
            till.database.url, connection_class=Late, min_size=1, max_size=1, timeout=PATIENCE
        ) as pool:
            client = AsyncClient.postgres(pool)
            with pytest.raises(asyncio.CancelledError):
                await asyncio.create_task(client.call(allocate(till)))
            async with pool.connection() as connection:
                assert not connection.autocommit

    asyncio.run(pay())


@pytest.mark.parametrize("autocommit", [False, True])
@pytest.mark.parametrize("dry_run", [False, True])
def test_cancelled_on_an_open_connection_a_call_leaves_it_as_it_was(
    till: Till, blocker: Connection, *, autocommit: bool, dry_run: bool
) -> None:
    async def pay() -> None:
        async with await psycopg.AsyncConnection.connect(
            till.database.url, autocommit=autocommit
        ) as connection:
            await connection.execute("update public.routes set description = 'Changed before'")
            before = connection.info.transaction_status
            client = AsyncClient.postgres(connection)
            call = client.call(allocate(till), dry_run=dry_run)
            await cancelled(call, till, connection.info.backend_pid)
            assert connection.info.transaction_status == before
            blocker.rollback()
            answer = await client.call(allocate(till, 100))
            assert answer.total_allocated == 100
        assert_changed(till)

    asyncio.run(pay())


@pytest.mark.parametrize("autocommit", [False, True])
@pytest.mark.parametrize("dry_run", [False, True])
def test_interrupted_on_an_open_connection_a_call_leaves_it_as_it_was(
    till: Till, blocker: Connection, *, autocommit: bool, dry_run: bool
) -> None:
    with (
        psycopg.connect(till.database.url, autocommit=autocommit) as connection,
        ThreadPoolExecutor(1) as threads,
    ):
        connection.execute("update public.routes set description = 'Changed before'")
        before = connection.info.transaction_status
        client = Client.postgres(connection)
        threads.submit(press_ctrl_c, till, connection.info.backend_pid)
        with pytest.raises(KeyboardInterrupt):
            client.call(allocate(till), dry_run=dry_run)
        assert connection.info.transaction_status == before
        blocker.rollback()
        assert client.call(allocate(till, 100)).total_allocated == 100
    assert_changed(till)


def assert_changed(till: Till) -> None:
    """What was done before the call that was interrupted, and after it, is there."""
    row = till.database.connect().execute("""
      select (select array_agg(distinct description) from public.routes),
             (select sum(amount_applied) from public.payments)
    """)
    assert row.fetchone() == (["Changed before"], 100)


def test_a_cancelled_dry_run_ends_no_connection_of_a_pool(till: Till, blocker: Connection) -> None:
    async def pay() -> None:
        async with AsyncConnectionPool(till.database.url, min_size=1, max_size=1) as pool:
            async with pool.connection() as connection:
                pid = connection.info.backend_pid
            dry = AsyncClient.postgres(pool).call(allocate(till), dry_run=True)
            await cancelled(dry, till, pid)
            blocker.rollback()
            async with pool.connection() as connection:
                assert connection.info.backend_pid == pid

    asyncio.run(pay())
