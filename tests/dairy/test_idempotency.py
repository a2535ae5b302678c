"""A key makes a call that is sent twice happen once; its owner can ask what became of it."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import psycopg
import pytest

from dairy.books import Books, refused
from support.databases import Database
from support.sessions import wait_until_blocked

KEY = "pymilk.idempotency_key"


def outcome(books: Books, key: str) -> tuple[object, ...]:
    return books.rows("select outcome, function_name, answer from public.request_outcome(%s)", key)[
        0
    ]


@pytest.fixture
def pair(books: Books) -> tuple[UUID, UUID]:
    """A payment and an invoice of 1000 each."""
    customer = books.customer()
    return books.payment(customer, 1000), books.invoice(customer, 1000)


def test_without_a_key_the_same_call_allocates_again(books: Books, pair: tuple[UUID, UUID]) -> None:
    payment, invoice = pair
    for _ in range(2):
        books.allocate(payment, {invoice: 100})
    assert books.allocations(payment) == {invoice: 200}
    assert books.value("select count(*) from private.request_keys") == 0


def test_with_a_key_the_first_answer_comes_again(books: Books, pair: tuple[UUID, UUID]) -> None:
    payment, invoice = pair
    books.setting(KEY, "first")
    first = books.allocate(payment, {invoice: 100})
    books.setting(KEY, "second")
    books.allocate(payment, {invoice: 50})
    books.setting(KEY, "first")

    again = books.allocate(payment, {invoice: 100})

    assert again == first
    assert books.allocations(payment) == {invoice: 150}


def test_arguments_are_compared_by_what_they_mean(books: Books, pair: tuple[UUID, UUID]) -> None:
    payment, invoice = pair
    books.setting(KEY, "one")
    first = books.call(payment, f'[{{"invoiceId": "{invoice}", "amount": 100}}]')
    same = f'[{{"amount": "100.00", "invoice_id": "{str(invoice).upper()}"}}]'
    assert books.call(payment, same, validate=None) == first

    with refused("idempotency_key_reused", status=409) as facts:
        books.allocate(payment, {invoice: "100.01"})
    assert facts["key"] == "one"
    with refused("idempotency_key_reused"):
        books.allocate(payment, {invoice: 100}, validate=False)
    assert books.allocations(payment) == {invoice: 100}


def test_the_header_that_postgrest_shows_is_the_key(books: Books, pair: tuple[UUID, UUID]) -> None:
    payment, invoice = pair
    books.setting("request.headers", '{"idempotency-key": "from the header", "host": "x"}')
    for _ in range(2):
        books.allocate(payment, {invoice: 100})
    assert books.allocations(payment) == {invoice: 100}
    assert outcome(books, "from the header")[0] == "done"


def test_a_key_belongs_to_its_caller(fixed: Database, pair: tuple[UUID, UUID]) -> None:
    payment, invoice = pair
    clerks = [Books(fixed.connect(role="authenticated", autocommit=True)) for _ in range(2)]
    for number, clerk in enumerate(clerks):
        clerk.setting("request.jwt.claims", f'{{"sub": "{UUID(int=number)}"}}')
        clerk.setting(KEY, "mine")
        clerk.allocate(payment, {invoice: 100 + number})

    assert clerks[0].allocations(payment) == {invoice: 201}
    answers = [outcome(clerk, "mine")[2] for clerk in clerks]
    assert [answer["allocated_amount"] for answer in answers if isinstance(answer, dict)] == [
        100,
        101,
    ]


def test_a_refused_call_leaves_no_key(books: Books, pair: tuple[UUID, UUID]) -> None:
    payment, invoice = pair
    books.setting(KEY, "too much")
    with refused("allocation_exceeds_payment"):
        books.allocate(payment, {invoice: 5000})
    assert outcome(books, "too much") == ("unknown", None, None)
    assert books.allocate(payment, {invoice: 500}).allocated_amount == 500


@pytest.mark.parametrize("key", ["k" * 201, "   "])
def test_a_key_that_cannot_be_kept_is_refused(
    books: Books, pair: tuple[UUID, UUID], key: str
) -> None:
    payment, invoice = pair
    books.setting(KEY, key)
    with refused("idempotency_key_invalid", status=400):
        books.allocate(payment, {invoice: 1})
    with refused("idempotency_key_invalid", status=400):
        outcome(books, key)
    books.setting(KEY, "")
    books.setting("request.headers", '{"idempotency-key": ""}')
    with refused("idempotency_key_invalid", status=400):
        books.allocate(payment, {invoice: 1})


def test_the_longest_key_is_kept_whole(books: Books, pair: tuple[UUID, UUID]) -> None:
    payment, invoice = pair
    books.setting(KEY, "ध" * 200)
    books.allocate(payment, {invoice: 1})
    assert outcome(books, "ध" * 200)[0] == "done"


def test_a_key_is_kept_for_thirty_days(books: Books, pair: tuple[UUID, UUID]) -> None:
    payment, invoice = pair
    books.setting(KEY, "old")
    books.allocate(payment, {invoice: 1})
    books.run(
        "update private.request_keys set recorded_at = now() - interval '30 days' + interval '1 h'"
    )
    assert books.allocate(payment, {invoice: 1}).total_allocated == 1

    books.run("update private.request_keys set recorded_at = now() - interval '30 days'")
    assert outcome(books, "old")[0] == "unknown"
    assert books.allocate(payment, {invoice: 1}).total_allocated == 2
    assert outcome(books, "old")[0] == "done"


def test_claiming_sweeps_expired_keys_away(books: Books, pair: tuple[UUID, UUID]) -> None:
    payment, invoice = pair
    for number in range(3):
        books.setting(KEY, f"old {number}")
        books.allocate(payment, {invoice: 1})
    books.run("update private.request_keys set recorded_at = now() - interval '31 days'")
    books.setting(KEY, "new")
    books.allocate(payment, {invoice: 1})
    assert books.rows("select key from private.request_keys") == [("new",)]


def test_a_request_that_was_undone_stays_undone(books: Books, pair: tuple[UUID, UUID]) -> None:
    payment, invoice = pair
    books.setting(KEY, "withdrawn")
    books.allocate(payment, {invoice: 1})
    books.run("update private.request_keys set undone_at = now()")
    assert outcome(books, "withdrawn")[0] == "undone"
    with refused("request_undone", status=409):
        books.allocate(payment, {invoice: 1})


class TestBothAtOnce:
    """Two sessions with one key: the second waits for the first and gets what became of it."""

    def test_the_second_gets_the_firsts_answer(
        self, fixed: Database, books: Books, pair: tuple[UUID, UUID]
    ) -> None:
        payment, invoice = pair
        first, second = Books(fixed.connect()), Books(fixed.connect(autocommit=True))
        for one in (first, second):
            one.setting(KEY, "twice")
        first.connection.commit()
        answer = first.allocate(payment, {invoice: 100})
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(second.allocate, payment, {invoice: 100})
            wait_until_blocked(books.connection, second.connection.info.backend_pid)
            first.connection.commit()
            assert waiting.result(timeout=10) == answer
        assert books.allocations(payment) == {invoice: 100}

    def test_the_second_does_it_when_the_first_rolled_back(
        self, fixed: Database, books: Books, pair: tuple[UUID, UUID]
    ) -> None:
        payment, invoice = pair
        first, second = Books(fixed.connect()), Books(fixed.connect(autocommit=True))
        for one in (first, second):
            one.setting(KEY, "twice")
        first.connection.commit()
        first.allocate(payment, {invoice: 100})
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(second.allocate, payment, {invoice: 100})
            wait_until_blocked(books.connection, second.connection.info.backend_pid)
            first.connection.rollback()
            assert waiting.result(timeout=10).total_allocated == 100
        assert books.allocations(payment) == {invoice: 100}

    def test_who_asks_for_the_outcome_waits_for_the_call_in_flight(
        self, fixed: Database, books: Books, pair: tuple[UUID, UUID]
    ) -> None:
        payment, invoice = pair
        caller = Books(fixed.connect())
        caller.setting(KEY, "in flight")
        caller.connection.commit()
        caller.allocate(payment, {invoice: 100})
        asking = Books(fixed.connect(autocommit=True))
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(outcome, asking, "in flight")
            wait_until_blocked(books.connection, asking.connection.info.backend_pid)
            caller.connection.commit()
            assert waiting.result(timeout=10)[0] == "done"

    def test_under_repeatable_read_nothing_is_paid_twice(
        self, fixed: Database, books: Books, pair: tuple[UUID, UUID]
    ) -> None:
        payment, invoice = pair
        first, second = Books(fixed.connect()), Books(fixed.connect())
        for one in (first, second):
            one.setting(KEY, "twice")
            one.connection.commit()
            one.connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        second.value("select 1")
        first.allocate(payment, {invoice: 100})
        first.connection.commit()
        with pytest.raises(psycopg.errors.SerializationFailure):
            second.allocate(payment, {invoice: 100})
        second.connection.rollback()
        assert second.allocate(payment, {invoice: 100}).total_allocated == 100
        second.connection.commit()
        assert books.allocations(payment) == {invoice: 100}


def test_a_key_is_kept_for_30_days(books: Books, pair: tuple[UUID, UUID]) -> None:
    payment, invoice = pair
    books.setting(KEY, "one")
    books.allocate(payment, {invoice: 100})
    aged = "update private.request_keys set recorded_at = now() - %s::interval where key = 'one'"

    with books.connection.transaction():  # one moment for all that is in it
        books.run(aged, "29 days 23:59:59.999999")
        assert outcome(books, "one")[0] == "done"
        assert books.allocate(payment, {invoice: 100}).total_allocated == 100
        books.run(aged, "30 days")
        assert outcome(books, "one")[0] == "unknown"
        assert books.allocate(payment, {invoice: 100}).total_allocated == 200
