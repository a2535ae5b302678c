"""Whose transaction a call is in, and that an idempotency key ends with its call."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from uuid import uuid4

import psycopg
import pytest
from psycopg.rows import DictRow, TupleRow, dict_row
from psycopg.types.numeric import FloatLoader
from psycopg.types.string import TextLoader
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from pymilk import AsyncClient, Client, errors, rpc
from pymilk.rpc.protocol import Retry
from support.pooler import pooler
from support.pooler import there_is_one as pooler_is_there
from support.sessions import wait_until_blocked
from support.till import Connection, Till

KEY = "select current_setting('pymilk.idempotency_key', true)"


def allocate(till: Till, amount: int) -> rpc.Call[rpc.AllocatePaymentAtomicResult]:
    return rpc.allocate_payment_atomic(
        payment_id=till.payment, allocations=[{"invoice_id": till.invoices[1], "amount": amount}]
    )


def allocated(till: Till) -> Decimal:
    """What others see as allocated of the till's payment."""
    row = (
        till.database.connect()
        .execute("select amount_applied from public.payments where id = %s", [till.payment])
        .fetchone()
    )
    assert row is not None
    assert isinstance(row[0], Decimal)
    return row[0]


def key_left_on(connection: Connection) -> object:
    row = connection.execute(KEY).fetchone()
    assert row is not None
    return row[0] or None


def test_on_a_dsn_each_call_is_committed(till: Till) -> None:
    with Client.postgres(till.database.url) as client:
        client.call(allocate(till, 300))
        assert allocated(till) == 300
        with pytest.raises(errors.AllocationExceedsPayment):
            client.call(allocate(till, 501))
        client.call(allocate(till, 500))
    assert allocated(till) == 800


def test_on_a_connection_the_owner_commits(till: Till) -> None:
    connection = till.database.connect()
    client = Client.postgres(connection)
    client.call(allocate(till, 300))
    client.close()
    assert allocated(till) == 0
    connection.commit()
    assert allocated(till) == 300


def test_on_a_connection_the_owner_rolls_back(till: Till) -> None:
    connection = till.database.connect()
    client = Client.postgres(connection)
    client.call(allocate(till, 300))
    connection.rollback()
    connection.commit()
    assert allocated(till) == 0


def test_a_refused_call_leaves_the_owners_transaction_usable(till: Till) -> None:
    connection = till.database.connect()
    client = Client.postgres(connection)
    connection.execute("update public.routes set description = 'Changed before'")
    with pytest.raises(errors.AllocationExceedsPayment):
        client.call(allocate(till, 801))
    client.call(allocate(till, 800))
    connection.commit()
    assert allocated(till) == 800
    changed = connection.execute("select distinct description from public.routes").fetchall()
    assert changed == [("Changed before",)]


def test_in_autocommit_mode_a_call_commits_as_a_statement_does(till: Till) -> None:
    connection = till.database.connect(autocommit=True)
    Client.postgres(connection).call(allocate(till, 300))
    assert allocated(till) == 300


def test_in_autocommit_mode_a_block_of_the_owner_is_left_to_the_owner(till: Till) -> None:
    connection = till.database.connect(autocommit=True)
    client = Client.postgres(connection)
    with connection.transaction(force_rollback=True):
        client.call(allocate(till, 300))
        assert allocated(till) == 0
    assert allocated(till) == 0


def test_the_same_key_gives_the_first_answer_again(till: Till) -> None:
    with Client.postgres(till.database.url) as client:
        first = client.call(allocate(till, 300), idempotency_key="till-3/0042")
        again = client.call(allocate(till, 300), idempotency_key="till-3/0042")
    assert again == first
    assert allocated(till) == 300


def test_the_same_key_at_the_same_time_allocates_once(till: Till) -> None:
    slow, watcher = till.database.connect(), till.database.connect()
    first = Client.postgres(slow).call(allocate(till, 300), idempotency_key="till-3/0042")

    second = till.database.connect(autocommit=True)
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(
            Client.postgres(second).call, allocate(till, 300), idempotency_key="till-3/0042"
        )
        wait_until_blocked(watcher, second.info.backend_pid)
        slow.commit()
        assert call.result() == first
    assert allocated(till) == 300


def test_a_key_does_not_outlive_its_call(till: Till) -> None:
    connection = till.database.connect()
    client = Client.postgres(connection)
    client.call(allocate(till, 300), idempotency_key="till-3/0042")
    assert key_left_on(connection) is None
    # Neither on the client's next call, which would be refused for its other arguments.
    client.call(allocate(till, 200))
    connection.commit()
    assert allocated(till) == 500


def test_a_key_does_not_outlive_a_refused_call(till: Till) -> None:
    connection = till.database.connect()
    client = Client.postgres(connection)
    with pytest.raises(errors.AllocationExceedsPayment):
        client.call(allocate(till, 801), idempotency_key="till-3/0042")
    assert key_left_on(connection) is None
    client.call(allocate(till, 300))
    client.call(allocate(till, 300), idempotency_key="till-3/0042")
    connection.commit()
    assert allocated(till) == 600


@pytest.mark.parametrize("amount", [300, 801])
def test_a_key_does_not_stay_on_an_autocommit_connection(till: Till, amount: int) -> None:
    connection = till.database.connect(autocommit=True)
    client = Client.postgres(connection)
    try:
        client.call(allocate(till, amount), idempotency_key="till-3/0042")
    except errors.AllocationExceedsPayment:
        assert amount == 801
    assert key_left_on(connection) is None


def test_a_dry_run_answers_and_writes_nothing(till: Till) -> None:
    with Client.postgres(till.database.url) as client:
        assert client.call(allocate(till, 300), dry_run=True).total_allocated == 300
        assert allocated(till) == 0
        with pytest.raises(errors.AllocationExceedsPayment):
            client.call(allocate(till, 801), dry_run=True)
        # Under its key nothing is known, and the key is free.
        assert client.call(allocate(till, 300), idempotency_key="dry", dry_run=True).success
        assert client.outcome("dry").outcome == "unknown"
        assert client.call(allocate(till, 200), idempotency_key="dry").total_allocated == 200
    assert allocated(till) == 200


def test_a_dry_run_meets_what_is_checked_at_the_commit(till: Till) -> None:
    owner = till.database.connect(autocommit=True)
    owner.execute("""
      create function public.too_late() returns trigger language plpgsql as $$
      begin
        raise exception 'too late';
      end $$
    """)
    owner.execute("""
      create constraint trigger too_late after insert on public.invoice_payments
      deferrable initially deferred for each row execute function public.too_late()
    """)
    with Client.postgres(till.database.url) as client:
        for dry_run in (True, False):
            with pytest.raises(errors.ExceptionRaised, match="too late"):
                client.call(allocate(till, 300), dry_run=dry_run)
        client.call(rpc.business_today())
    assert allocated(till) == 0


def test_a_dry_run_inside_a_transaction_leaves_it_as_it_was(till: Till) -> None:
    connection = till.database.connect()
    client = Client.postgres(connection)
    client.call(allocate(till, 100))
    assert client.call(allocate(till, 300), dry_run=True).total_allocated == 400
    assert client.call(allocate(till, 200)).total_allocated == 300
    connection.commit()
    assert allocated(till) == 300


def test_calls_out_of_a_pool_are_each_a_transaction(till: Till) -> None:
    with (
        ConnectionPool(till.database.url, min_size=1, max_size=3) as pool,
        ThreadPoolExecutor(8) as threads,
    ):
        client = Client.postgres(pool)
        with pytest.raises(errors.AllocationExceedsPayment):
            client.call(allocate(till, 801))
        calls = [threads.submit(client.call, allocate(till, 10)) for _ in range(30)]
        assert sorted(call.result().total_allocated for call in calls) == [
            10 * number for number in range(1, 31)
        ]
        assert allocated(till) == 300
        with pool.connection() as connection:  # as its owner had set it up
            assert not connection.autocommit
    with pytest.raises(errors.NotConnected):
        client.call(allocate(till, 10))


def test_whatever_rows_a_pool_is_for(till: Till) -> None:
    with ConnectionPool(
        till.database.url,
        connection_class=psycopg.Connection[DictRow],
        kwargs={"row_factory": dict_row},
        min_size=1,
    ) as pool:
        assert Client.postgres(pool).call(allocate(till, 10)).total_allocated == 10


def test_a_pool_that_looks_at_a_connection_before_it_lends_it(till: Till) -> None:
    def look(connection: psycopg.Connection[TupleRow]) -> None:
        connection.execute("select 1")  # which begins a transaction

    async def look_async(connection: psycopg.AsyncConnection[TupleRow]) -> None:
        await connection.execute("select 1")

    async def pay() -> None:
        async with AsyncConnectionPool(till.database.url, min_size=1, check=look_async) as pool:
            answer = await AsyncClient.postgres(pool).call(allocate(till, 10))
            assert answer.total_allocated == 20

    with ConnectionPool(till.database.url, min_size=1, check=look) as pool:
        assert Client.postgres(pool).call(allocate(till, 10)).total_allocated == 10
        assert allocated(till) == 10
    asyncio.run(pay())
    assert allocated(till) == 20


def test_a_connection_that_is_lost_while_its_pool_looks_at_it(till: Till) -> None:
    superuser = till.database.connect(user="supabase_admin", autocommit=True)

    def end(pid: int) -> None:
        superuser.execute("select pg_terminate_backend(%s, 10000)", [pid])

    def look(connection: psycopg.Connection[TupleRow]) -> None:
        connection.execute("select 1")
        end(connection.info.backend_pid)

    async def look_async(connection: psycopg.AsyncConnection[TupleRow]) -> None:
        await connection.execute("select 1")
        end(connection.info.backend_pid)

    async def pay() -> None:
        async with AsyncConnectionPool(till.database.url, min_size=1, check=look_async) as pool:
            with pytest.raises(errors.NotConnected):
                await AsyncClient.postgres(pool, retry=Retry(attempts=1)).call(allocate(till, 10))

    with (
        ConnectionPool(till.database.url, min_size=1, check=look) as pool,
        pytest.raises(errors.NotConnected),
    ):
        Client.postgres(pool, retry=Retry(attempts=1)).call(allocate(till, 10))
    asyncio.run(pay())
    assert allocated(till) == 0


def test_calls_out_of_a_pool_with_async(till: Till) -> None:
    async def fifty() -> list[rpc.AllocatePaymentAtomicResult]:
        async with AsyncConnectionPool(till.database.url, min_size=1, max_size=5) as pool:
            client = AsyncClient.postgres(pool)
            return await asyncio.gather(*(client.call(allocate(till, 1)) for _ in range(50)))

    answers = asyncio.run(fifty())
    assert sorted(each.total_allocated for each in answers) == list(range(1, 51))
    assert allocated(till) == 50


def test_an_open_async_connection_is_its_owners(till: Till) -> None:
    async def pay() -> None:
        async with await psycopg.AsyncConnection.connect(till.database.url) as connection:
            client = AsyncClient.postgres(connection)
            await client.call(allocate(till, 300))
            with pytest.raises(errors.AllocationExceedsPayment):
                await client.call(allocate(till, 501))
            assert allocated(till) == 0
            await client.call(allocate(till, 500))
            await connection.commit()

    asyncio.run(pay())
    assert allocated(till) == 800


def test_a_call_that_is_cancelled_leaves_the_client_usable(till: Till) -> None:
    blocker = till.database.connect()
    blocker.execute("select from public.payments where id = %s for update", [till.payment])

    async def pay() -> Decimal:
        async with AsyncClient.postgres(till.database.url) as client:
            await client.call(rpc.business_today())
            waiting = asyncio.create_task(client.call(allocate(till, 300)))
            await asyncio.sleep(0.05)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            blocker.rollback()
            return (await client.call(allocate(till, 100))).total_allocated

    assert asyncio.run(pay()) == 100


@pytest.mark.skipif(not pooler_is_there(), reason="left out: PgBouncer isn't installed here")
def test_through_a_pooler_that_hands_out_a_session_per_transaction(till: Till) -> None:
    with pooler(till.database.url, "transaction") as url:
        for where in (url, url):
            with Client.postgres(where) as client, ThreadPoolExecutor(8) as threads:
                keys = [str(uuid4()) for _ in range(10)]
                calls = [
                    threads.submit(client.call, allocate(till, 5), idempotency_key=key)
                    for key in keys * 2
                ]
                assert all(call.result().success for call in calls)
                assert {client.outcome(key).outcome for key in keys} == {"done"}
                assert client.call(allocate(till, 100), dry_run=True).allocated_amount == 100
    assert allocated(till) == 100


@pytest.mark.parametrize("autocommit", [False, True])
def test_a_key_that_is_on_the_connection_stays_its_owners(till: Till, *, autocommit: bool) -> None:
    connection = till.database.connect(autocommit=autocommit)
    connection.execute("set pymilk.idempotency_key = 'the owner''s'")
    connection.commit()
    client = Client.postgres(connection)

    client.call(allocate(till, 300))
    client.call(allocate(till, 200), idempotency_key="till-3/0042")

    assert client.call(rpc.request_outcome(key="the owner's")).outcome == "unknown"
    assert client.call(rpc.request_outcome(key="till-3/0042")).outcome == "done"
    connection.commit()
    assert key_left_on(connection) == "the owner's"


def test_an_empty_key_is_no_key(till: Till) -> None:
    client = Client.postgres(till.database.connect())
    with pytest.raises(ValueError, match="can't be empty"):
        client.call(allocate(till, 300), idempotency_key="")


def test_threads_take_turns_on_a_client(till: Till) -> None:
    with Client.postgres(till.database.url) as client, ThreadPoolExecutor(8) as threads:
        calls = [
            threads.submit(client.call, allocate(till, 10), idempotency_key=f"till-3/{number}")
            for number in range(40)
        ]
        totals = sorted(call.result().total_allocated for call in calls)
    assert totals == [Decimal(10 * number) for number in range(1, 41)]
    assert allocated(till) == 400


def test_a_closed_client_gives_its_connection_back(till: Till) -> None:
    sessions = """
      select count(*) from pg_stat_activity
      where datname = current_database() and application_name = 'pymilk'
    """
    watcher = till.database.connect(user="supabase_admin", autocommit=True)
    with Client.postgres(till.database.url) as client:
        client.call(rpc.business_today())
        assert watcher.execute(sessions).fetchone() == (1,)
    for _ in range(1000):
        if watcher.execute(sessions).fetchone() == (0,):
            break
    else:
        pytest.fail("the session is still there")


def test_the_owners_type_adapters_do_not_matter(till: Till) -> None:
    connection = till.database.connect()
    client = Client.postgres(connection)
    connection.adapters.register_loader("numeric", FloatLoader)
    connection.adapters.register_loader("uuid", TextLoader)
    answer = client.call(allocate(till, 300))
    assert type(answer.allocated_amount) is Decimal
    assert answer.applied[0].invoice_id == till.invoices[1]
