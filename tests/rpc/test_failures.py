"""What a call ends in when the database, another call or the connection is in its way."""

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pymilk import AsyncClient, Client, errors, rpc
from pymilk.rpc import reading
from pymilk.rpc.protocol import Retry
from support.databases import Database
from support.flaky import Break, flaky
from support.sessions import wait_until_blocked
from support.till import Connection, Till

Answer = rpc.AllocatePaymentAtomicResult


def allocate(till: Till, amount: int = 300) -> rpc.Call[Answer]:
    return rpc.allocate_payment_atomic(
        payment_id=till.payment, allocations=[{"invoice_id": till.invoices[0], "amount": amount}]
    )


def lock_payment(connection: Connection, till: Till) -> None:
    connection.execute("select from public.payments where id = %s for update", [till.payment])


def session_of(client: Client, till: Till) -> int:
    """The process id of a client that has a connection of its own."""
    client.call(rpc.business_today())
    row = (
        till.database.connect(user="supabase_admin")
        .execute("""
          select pid from pg_stat_activity
          where datname = current_database() and application_name = 'pymilk'
        """)
        .fetchone()
    )
    assert row is not None
    return int(row[0])


def end_session(till: Till, pid: int) -> None:
    superuser = till.database.connect(user="supabase_admin", autocommit=True)
    superuser.execute("select pg_terminate_backend(%s, 10000)", [pid])


def test_a_role_that_may_not_is_told_so(till: Till) -> None:
    client = Client.postgres(till.database.connect(role="anon"))
    with pytest.raises(errors.NotAllowed) as refused:
        client.call(allocate(till))
    assert refused.value.sqlstate == "42501"
    assert "allocate_payment_atomic" in str(refused.value)


def test_a_missing_function_is_told(dairy: Database) -> None:
    client = Client.postgres(dairy.connect())
    with pytest.raises(errors.FunctionMissing, match="business_today"):
        client.call(rpc.business_today())


def test_a_lock_held_too_long_is_transient(till: Till) -> None:
    connection = till.database.connect()
    client = Client.postgres(connection)
    lock_payment(till.database.connect(), till)
    connection.execute("set lock_timeout = '50ms'")
    with pytest.raises(errors.LockTimeout) as refused:
        client.call(allocate(till))
    assert isinstance(refused.value, errors.Transient)
    assert refused.value.sqlstate == "55P03"


def test_a_call_out_of_time_is_transient(till: Till) -> None:
    connection = till.database.connect()
    client = Client.postgres(connection)
    lock_payment(till.database.connect(), till)
    connection.execute("set statement_timeout = '50ms'")
    with pytest.raises(errors.TimedOut) as refused:
        client.call(allocate(till))
    assert isinstance(refused.value, errors.Transient)


def test_a_deadlock_is_transient(till: Till) -> None:
    # Only the superuser sets how soon a session looks for a deadlock; who looks is ended.
    mine = till.database.connect(user="supabase_admin")
    other = till.database.connect(user="supabase_admin")
    mine.execute("set deadlock_timeout = '10ms'")
    other.execute("set deadlock_timeout = '60s'")
    mine.execute("select from public.routes for update")
    lock_payment(other, till)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(other.execute, "select from public.routes for update")
        wait_until_blocked(till.database.connect(), other.info.backend_pid)
        with pytest.raises(errors.Deadlock):
            Client.postgres(mine).call(allocate(till))
        mine.rollback()
        waiting.result()


def test_a_write_conflict_is_transient(till: Till) -> None:
    connection = till.database.connect(autocommit=True)
    connection.execute("set default_transaction_isolation = 'repeatable read'")
    with connection.transaction():
        connection.execute("select from public.payments")
        with Client.postgres(till.database.url) as client:
            client.call(allocate(till))
        with pytest.raises(errors.WriteConflict):
            Client.postgres(connection).call(allocate(till))


def test_a_broken_constraint_is_told(
    client: Client, connection: Connection, shared_till: Till
) -> None:
    connection.execute("alter table public.invoice_payments add check (amount_allocated > 1)")
    with pytest.raises(errors.ConstraintBroken, match="violates check constraint"):
        client.call(allocate(shared_till, 1))


def test_anything_else_keeps_its_code(client: Client, connection: Connection) -> None:
    connection.execute("create function public.broken() returns int language sql as 'select 1 / 0'")
    with pytest.raises(errors.DatabaseError, match="division by zero") as told:
        client.call(rpc.Call("broken", (), reading.value(reading.integer)))
    assert type(told.value) is errors.DatabaseError
    assert told.value.sqlstate == "22012"


def test_a_function_that_lacks_another_is_not_missing_itself(
    client: Client, connection: Connection
) -> None:
    connection.execute("""
      create function public.half() returns int language plpgsql as $$
      begin
        return public.other_half();
      end $$
    """)
    with pytest.raises(errors.DatabaseError, match="other_half") as told:
        client.call(rpc.Call("half", (), reading.value(reading.integer)))
    assert type(told.value) is errors.DatabaseError


def test_an_answer_of_another_shape_is_told(client: Client, connection: Connection) -> None:
    connection.execute("drop function public.business_today cascade")
    connection.execute(
        "create function public.business_today() returns text language sql as $$ select 'soon' $$"
    )
    with pytest.raises(errors.UnexpectedAnswer, match="found 'soon'"):
        client.call(rpc.business_today())


def test_a_database_that_is_not_there_is_told(shared_till: Till) -> None:
    url = make_conninfo(shared_till.database.url, dbname="nowhere")
    client = Client.postgres(url)
    with pytest.raises(errors.NotConnected, match="nowhere"):
        client.call(rpc.business_today())


@pytest.mark.parametrize("dsn", ["nowhere", "postgresql://[::1", "connect_timeout=soon"])
def test_a_dsn_that_can_not_be_read_is_told(dsn: str) -> None:
    client = Client.postgres(dsn)
    with pytest.raises(errors.NotConnected, match="nothing was sent"):
        client.call(rpc.business_today())

    async def ask() -> None:
        with pytest.raises(errors.NotConnected, match="nothing was sent"):
            await AsyncClient.postgres(dsn).call(rpc.business_today())

    asyncio.run(ask())


def test_a_connection_lost_during_a_call_is_made_up_for(till: Till) -> None:
    client, blocker = Client.postgres(till.database.url), till.database.connect()
    pid = session_of(client, till)
    lock_payment(blocker, till)
    with ThreadPoolExecutor(1) as threads:
        call = _call(threads, client, till)
        wait_until_blocked(till.database.connect(), pid)
        end_session(till, pid)
        blocker.rollback()
        # On another connection, under the same key.
        assert call.result().total_allocated == 300
    assert client.outcome("till-3/0042").outcome == "done"
    client.close()


def test_a_connection_lost_during_a_call_leaves_the_outcome_unknown(till: Till) -> None:
    client = Client.postgres(till.database.url, retry=Retry(attempts=1))
    blocker = till.database.connect()
    pid = session_of(client, till)
    lock_payment(blocker, till)
    with ThreadPoolExecutor(1) as threads:
        call = _call(threads, client, till)
        wait_until_blocked(till.database.connect(), pid)
        end_session(till, pid)
        with pytest.raises(errors.OutcomeUnknown, match="may have been written, or not") as lost:
            call.result()
    assert lost.value.idempotency_key == "till-3/0042"
    blocker.rollback()
    assert client.outcome("till-3/0042").outcome == "unknown"
    assert client.call(allocate(till), idempotency_key="till-3/0042").total_allocated == 300
    client.close()


@pytest.mark.parametrize("where", Break)
def test_a_connection_cut_around_the_commit_pays_once(till: Till, where: Break) -> None:
    cuts = iter([where, where])
    with (
        flaky(till.database.url, lambda: next(cuts, None)) as between,
        Client.postgres(between.url, retry=Retry(shortest=0.001)) as client,
    ):
        assert client.call(allocate(till)).total_allocated == 300
        assert between.cuts == 2
    row = till.database.connect().execute("select sum(amount_applied) from public.payments")
    assert row.fetchone() == (300,)


@pytest.mark.parametrize(("where", "moved"), [(Break.BEFORE, 0), (Break.AFTER, 300)])
def test_a_connection_cut_once_leaves_the_outcome_to_be_asked(
    till: Till, where: Break, moved: int
) -> None:
    cuts = iter([where])
    with (
        flaky(till.database.url, lambda: next(cuts, None)) as between,
        Client.postgres(between.url, retry=Retry(attempts=1)) as client,
    ):
        with pytest.raises(errors.OutcomeUnknown) as unknown:
            client.call(allocate(till))
        assert unknown.value.idempotency_key is not None
        outcome = client.outcome(unknown.value.idempotency_key).outcome
    assert outcome == ("done" if moved else "unknown")


def test_a_call_that_takes_no_key_is_not_made_again(till: Till) -> None:
    cuts = iter([Break.AFTER])
    call = rpc.Call("trip", (), reading.value(reading.integer))
    owner = till.database.connect(autocommit=True)
    owner.execute("create sequence public.trips")
    owner.execute(
        "create function public.trip() returns bigint language sql"
        " as $$ select nextval('public.trips') $$"
    )
    with (
        flaky(till.database.url, lambda: next(cuts, None)) as between,
        Client.postgres(between.url) as client,
    ):
        with pytest.raises(errors.OutcomeUnknown) as unknown:
            client.call(call)
        assert unknown.value.idempotency_key is None
    assert owner.execute("select last_value from public.trips").fetchone() == (1,)


def test_a_borrowed_connection_that_is_lost_has_committed_nothing(till: Till) -> None:
    connection = till.database.connect()
    client = Client.postgres(connection)
    client.call(allocate(till, 100))
    end_session(till, connection.info.backend_pid)
    with pytest.raises(errors.ConnectionLost) as lost:
        client.call(allocate(till, 100))
    assert type(lost.value) is errors.ConnectionLost


def test_a_connection_lost_on_the_way_back_takes_nothing_of_what_was_told(till: Till) -> None:
    cuts = iter([Break.BEFORE])
    with (
        flaky(till.database.url, lambda: next(cuts, None), b"rollback to") as between,
        psycopg.connect(between.url) as connection,
    ):
        client = Client.postgres(connection)
        with pytest.raises(errors.AllocationExceedsPayment):
            client.call(allocate(till, 900))
        assert between.cuts == 1
        with pytest.raises(errors.NotConnected):
            client.call(allocate(till))


def test_a_call_that_failed_before_its_savepoint_is_told_as_it_is(client: Client) -> None:
    unreadable = rpc.Argument("p_amount", "no type (", None)
    with pytest.raises(errors.DatabaseError, match="syntax error") as told:
        client.call(rpc.Call("echo", (unreadable,), reading.value(reading.anything)))
    assert told.value.sqlstate == "42601"


def test_every_error_keeps_its_cause(client: Client, shared_till: Till) -> None:
    with pytest.raises(errors.PymilkError) as refused:
        client.call(allocate(shared_till, 900))
    assert refused.value.__cause__ is not None
    assert getattr(refused.value.__cause__, "sqlstate", None) == "PT409"


def _call(threads: ThreadPoolExecutor, client: Client, till: Till) -> Future[Answer]:
    return threads.submit(client.call, allocate(till), idempotency_key="till-3/0042")
