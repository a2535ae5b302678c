"""What is Supabase's own: faults on the way, who is asking, and what PostgREST does by itself."""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

import supabase
from pymilk import AsyncClient, Client, errors, rpc
from pymilk.rpc import reading
from pymilk.rpc.call import Call, Key, argument, given
from pymilk.rpc.protocol import Retry
from rpc.ways import QUICK, Office
from support.gateway import Fault, Gateway
from support.postgrest import PostgREST
from support.till import Till

ONCE = Retry(attempts=1)


@pytest.fixture
def gateway(api_office: Office) -> Gateway:
    """The gateway, with nothing seen and nothing planned."""
    found = api_office.gateway
    assert found is not None
    found.seen.clear()
    return found


@pytest.fixture
def api(api_office: Office) -> PostgREST:
    """PostgREST."""
    assert api_office.api is not None
    return api_office.api


@pytest.fixture(scope="session")
def session() -> Iterator[httpx.Client]:
    """One HTTP session for all: making one reads all certificates."""
    with httpx.Client() as made:
        yield made


def client_at(gateway: Gateway, key: str, session: httpx.Client, retry: Retry = QUICK) -> Client:
    """A client on a session that is there already, made by the `supabase` package's own hands."""
    options = supabase.ClientOptions(httpx_client=session)
    return Client.supabase(supabase.create_client(gateway.url, key, options), retry=retry)


@pytest.fixture
def client(gateway: Gateway, api: PostgREST, session: httpx.Client) -> Client:
    """A client of the back office."""
    return client_at(gateway, api.token("service_role"), session)


@pytest.fixture
def impatient(gateway: Gateway, api: PostgREST, session: httpx.Client) -> Client:
    """One that tries once."""
    return client_at(gateway, api.token("service_role"), session, ONCE)


def allocate(till: Till, amount: int = 300) -> Call[rpc.AllocatePaymentAtomicResult]:
    return rpc.allocate_payment_atomic(
        payment_id=till.payment, allocations=[{"invoice_id": till.invoices[0], "amount": amount}]
    )


def allocated(till: Till) -> Decimal:
    row = (
        till.database.connect()
        .execute("select amount_applied from public.payments where id = %s", [till.payment])
        .fetchone()
    )
    assert row is not None
    assert isinstance(row[0], Decimal)
    return row[0]


def by_hand(name: str, *arguments: tuple[str, str, object]) -> Call[Any]:
    return Call(
        name,
        given(*(argument(*each) for each in arguments)),
        reading.value(reading.anything),
    )


@pytest.mark.parametrize(
    "fault",
    [Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.PAGE_BEFORE, Fault.PAGE_AFTER, Fault.GARBLED],
)
def test_whatever_happens_on_the_way_it_is_paid_once(
    client: Client, gateway: Gateway, own_till: Till, fault: Fault
) -> None:
    gateway.next(fault, fault)
    done = client.call(allocate(own_till))
    assert done.total_allocated == 300
    assert allocated(own_till) == 300
    keys = [key for key, _ in gateway.seen]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert UUID(keys[0]).version == 4


@pytest.mark.parametrize(
    ("fault", "moved"),
    [
        (Fault.CUT_AFTER, 300),
        (Fault.CUT_BEFORE, 0),
        (Fault.PAGE_AFTER, 300),
        (Fault.GARBLED, 300),
    ],
)
def test_in_doubt_it_says_so_and_the_outcome_can_be_asked(
    impatient: Client, gateway: Gateway, own_till: Till, fault: Fault, moved: int
) -> None:
    client = impatient
    gateway.next(fault)
    with pytest.raises(errors.OutcomeUnknown, match="may have been") as unknown:
        client.call(allocate(own_till))
    assert allocated(own_till) == moved
    key = unknown.value.idempotency_key
    assert key is not None
    assert client.outcome(key).outcome == ("done" if moved else "unknown")


def test_sent_round_and_round_it_does_not_know(gateway: Gateway, api: PostgREST) -> None:
    gateway.next(*[Fault.ROUND] * 21)
    with (
        Client.supabase(gateway.url, api.token("service_role"), retry=ONCE) as client,
        pytest.raises(errors.OutcomeUnknown, match="redirects"),
    ):
        client.call(rpc.business_today())


def test_a_page_of_html_is_told(gateway: Gateway, api: PostgREST, session: httpx.Client) -> None:
    client = client_at(gateway, api.token("service_role"), session, ONCE)
    gateway.next(Fault.PAGE_BEFORE)
    with pytest.raises(errors.GatewayError, match="HTTP 502: <html>") as told:
        client.call(rpc.business_today())
    assert told.value.status == 502


def test_a_call_without_a_key_is_never_repeated(client: Client, gateway: Gateway) -> None:
    gateway.next(Fault.CUT_AFTER)
    with pytest.raises(errors.OutcomeUnknown) as unknown:
        client.call(rpc.next_invoice_number(financial_year="203132"))
    assert unknown.value.idempotency_key is None
    assert len(gateway.seen) == 1


def test_an_unknown_outcome_is_not_covered_by_a_later_failure(
    client: Client, gateway: Gateway, api_office: Office
) -> None:
    owner = api_office.database.connect(autocommit=True)
    owner.execute("alter sequence public.trips restart")
    trip = Call(
        "trip",
        given(argument("p_code", "text", "55P03"), argument("p_times", "integer", 1000)),
        reading.value(reading.integer),
        key=Key.OF_THIS_CALL,
    )
    gateway.next(Fault.CUT_AFTER)
    with pytest.raises(errors.OutcomeUnknown) as unknown:
        client.call(trip)
    assert isinstance(unknown.value.__cause__, errors.LockTimeout)
    assert len(gateway.seen) == 4


def test_a_time_out_after_the_commit_pays_once(
    gateway: Gateway, api: PostgREST, own_till: Till
) -> None:
    gateway.next(Fault.NEVER)
    with Client.supabase(
        gateway.url, api.token("service_role"), timeout=0.3, retry=QUICK
    ) as client:
        assert client.call(allocate(own_till)).total_allocated == 300
    assert allocated(own_till) == 300
    assert len(gateway.seen) == 2


def test_a_time_out_is_told(gateway: Gateway, api: PostgREST) -> None:
    gateway.next(Fault.NEVER)
    client = Client.supabase(gateway.url, api.token("service_role"), timeout=0.2, retry=ONCE)
    with pytest.raises(errors.OutcomeUnknown, match="timed out"):
        client.call(rpc.business_today())
    client.close()


def test_where_nobody_answers_nothing_was_sent(api: PostgREST, session: httpx.Client) -> None:
    options = supabase.ClientOptions(httpx_client=session)
    nowhere = supabase.create_client("http://127.0.0.1:9", api.token("anon"), options)
    with pytest.raises(errors.NotConnected, match="nothing was sent"):
        Client.supabase(nowhere, retry=ONCE).call(rpc.business_today())


def test_who_asks_is_the_signed_in_user(gateway: Gateway, api: PostgREST, own_till: Till) -> None:
    user = str(uuid4())
    with Client.supabase(
        gateway.url,
        api.token("anon"),
        token=api.token("authenticated", sub=user),
        headers={"X-Till": "3"},
        schema="public",
        retry=ONCE,
    ) as client:
        assert client.call(by_hand("caller")) == user
        assert client.call(by_hand("header", ("p_name", "text", "x-till"))) == "3"
        assert gateway.headers["content-profile"] == "public"
        assert gateway.headers["apikey"] != gateway.headers["authorization"]
        # A key belongs to its user: for another one it is new.
        client.call(allocate(own_till), idempotency_key="till-3")
        assert client.outcome("till-3").outcome == "done"


def test_a_token_that_is_wrong_or_expired_is_told(
    gateway: Gateway, api: PostgREST, session: httpx.Client
) -> None:
    for token in (api.token("service_role", seconds=-3600), "x.y.z"):
        with pytest.raises(errors.NotSignedIn) as told:
            client_at(gateway, token, session, ONCE).call(rpc.business_today())
        assert told.value.status == 401


def test_a_schema_that_is_not_exposed_is_told(gateway: Gateway, api: PostgREST) -> None:
    key = api.token("service_role")
    with (
        Client.supabase(gateway.url, key, schema="private", retry=ONCE) as client,
        pytest.raises(errors.RequestRefused, match="PGRST106") as told,
    ):
        client.call(rpc.business_today())
    assert told.value.status == 406


def test_a_dry_run_needs_a_transaction(client: Client, own_till: Till) -> None:
    with pytest.raises(ValueError, match=r"Client\.postgres"):
        client.call(allocate(own_till), dry_run=True)


def test_a_key_that_http_can_not_carry_is_refused(client: Client, own_till: Till) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        client.call(allocate(own_till), idempotency_key="दूध")


def test_a_session_that_is_given_stays_open(gateway: Gateway, api: PostgREST) -> None:
    key = api.token("service_role")
    with httpx.Client() as session:
        with client_at(gateway, key, session) as client:
            client.call(rpc.business_today())
        assert not session.is_closed
        client.call(rpc.business_today())


def test_a_session_that_is_given_stays_open_with_async(gateway: Gateway, api: PostgREST) -> None:
    async def ask() -> None:
        async with httpx.AsyncClient() as session:
            options = supabase.AsyncClientOptions(httpx_client=session)
            given = await supabase.create_async_client(
                gateway.url, api.token("service_role"), options
            )
            async with AsyncClient.supabase(given) as client:
                await client.call(rpc.business_today())
            assert not session.is_closed
            await client.call(rpc.business_today())

    asyncio.run(ask())


def test_a_session_of_its_own_is_closed(gateway: Gateway, api: PostgREST) -> None:
    key = api.token("service_role")
    with Client.supabase(gateway.url, key, retry=ONCE) as client:
        client.call(rpc.business_today())
    with pytest.raises(errors.NotConnected, match="closed"):
        client.call(rpc.business_today())

    async def ask() -> None:
        async with AsyncClient.supabase(gateway.url, key, retry=ONCE) as client:
            await client.call(rpc.business_today())
        with pytest.raises(errors.NotConnected, match="closed"):
            await client.call(rpc.business_today())

    asyncio.run(ask())


def test_a_session_that_its_owner_has_closed_is_told(gateway: Gateway, api: PostgREST) -> None:
    with httpx.Client() as session:
        client = client_at(gateway, api.token("service_role"), session, ONCE)
    with pytest.raises(errors.NotConnected, match="HTTP session is closed"):
        client.call(rpc.business_today())


def test_fifty_at_once(gateway: Gateway, api: PostgREST, own_till: Till) -> None:
    async def fifty() -> list[rpc.AllocatePaymentAtomicResult]:
        async with AsyncClient.supabase(gateway.url, api.token("service_role")) as client:
            return await asyncio.gather(*(client.call(allocate(own_till, 1)) for _ in range(50)))

    answers = asyncio.run(fifty())
    assert sorted(each.total_allocated for each in answers) == list(range(1, 51))
    assert allocated(own_till) == 50


# What PostgREST does by itself, and this client relies on or has to live with.


def test_postgrest_repeats_a_write_conflict_itself(
    client: Client, gateway: Gateway, api_office: Office
) -> None:
    owner = api_office.database.connect(autocommit=True)
    owner.execute("alter sequence public.trips restart")
    assert (
        client.call(by_hand("trip", ("p_code", "text", "40001"), ("p_times", "integer", 30))) == 31
    )
    assert len(gateway.seen) == 1


@pytest.mark.parametrize(
    ("code", "status"),
    [("PT404", 404), ("PT422", 422), ("P0001", 400), ("P0002", 500), ("22023", 400)],
)
def test_postgrest_makes_a_status_of_a_code(client: Client, code: str, status: int) -> None:
    with pytest.raises(errors.PymilkError) as failed:
        client.call(by_hand("trip", ("p_code", "text", code), ("p_times", "integer", 10**9)))
    assert failed.value.status == status


@pytest.mark.parametrize(
    ("code", "status"),
    [("23505", 409), ("23503", 409), ("42501", 403), ("55P03", 500), ("57014", 500)],
)
def test_postgrest_makes_a_status_of_what_the_database_says(
    client: Client, code: str, status: int
) -> None:
    with pytest.raises(errors.DatabaseError) as failed:
        client.call(by_hand("trip", ("p_code", "text", code), ("p_times", "integer", 10**9)))
    assert (failed.value.sqlstate, failed.value.status) == (code, status)


def test_postgrest_reads_only_for_a_stable_function(client: Client) -> None:
    assert client.call(by_hand("write_a_route", ("p_name", "text", "New"))) >= 3
    with pytest.raises(errors.DatabaseError, match="read-only") as failed:
        client.call(by_hand("only_reads", ("p_name", "text", "Newer")))
    assert failed.value.sqlstate == "25006"


def test_the_package_alone_would_make_floats_of_amounts(
    gateway: Gateway, api: PostgREST, session: httpx.Client
) -> None:
    options = supabase.ClientOptions(httpx_client=session)
    alone = supabase.create_client(gateway.url, api.token("service_role"), options)
    answer = alone.rpc("echo", {"p_amount": "0.10"}).execute().data
    assert isinstance(answer, float)
    assert reading.numeric(answer) == Decimal("0.10")
    with pytest.raises(TypeError):
        alone.rpc("echo", {"p_amount": Decimal("0.10")}).execute()


def test_the_repack_is_the_one_that_was_looked_at() -> None:
    recipe = Path(__file__).parents[2] / ".ci" / "npm-tool"
    assert "0af68afe747ce09964f29e7c872e77b038aec483a8f3923c20850e850447add5" in recipe.read_text()
