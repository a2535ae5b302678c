"""Who invoices at the same time: the second is seen waiting before the first commits."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import UUID

import psycopg
import pytest

from dairy.books import refused, ruled_out
from dairy.invoicing import KEY, OCTOBER, SEPTEMBER, Invoicing, outcomes
from dairy.racing import Race, racing
from support.databases import Database

FIRST, LAST = SEPTEMBER


@pytest.fixture
def race(dairy_hardened: Database) -> Iterator[Race[Invoicing]]:
    with racing(dairy_hardened, Invoicing) as prepared:
        yield prepared


def numbers(books: Invoicing) -> list[int]:
    """All numbers, without their year."""
    return [
        int(number[6:])
        for (number,) in books.rows(
            "select invoice_number from public.invoice_metadata"
            " where invoice_number is not null order by 1"
        )
    ]


def year(books: Invoicing) -> str:
    found = books.value("select private.financial_year(public.business_today())")
    assert isinstance(found, str)
    return found


def test_two_bulk_runs_of_one_month(race: Race[Invoicing]) -> None:
    """They made two invoices for the same period, and the same number."""
    race.first.bulk()
    waiting = race.second_waits(race.second.bulk)
    race.first.connection.commit()
    answer = waiting.result(timeout=30)
    assert isinstance(answer, dict)
    assert answer["invoices_created"] == 0
    assert race.watcher.broken() == []
    assert numbers(race.watcher) == list(range(1, len(numbers(race.watcher)) + 1))


def test_two_bulk_runs_of_the_same_customers(race: Race[Invoicing]) -> None:
    customers = [race.watcher.household(deliveries=2) for _ in range(5)]
    race.first.bulk(customers=customers)
    waiting = race.second_waits(lambda: race.second.bulk(customers=customers[::-1]))
    race.first.connection.commit()
    with refused("already_invoiced", status=409):
        waiting.result(timeout=10)
    assert numbers(race.watcher) == [1, 2, 3, 4, 5]


def test_the_second_run_does_what_the_first_gave_up(race: Race[Invoicing]) -> None:
    customers = [race.watcher.household(deliveries=2) for _ in range(5)]
    race.first.bulk(customers=customers)
    waiting = race.second_waits(lambda: race.second.bulk(customers=customers))
    race.first.connection.rollback()
    answer = waiting.result(timeout=10)
    assert isinstance(answer, dict)
    assert answer["invoices_created"] == 5
    assert numbers(race.watcher) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("commits", [True, False])
def test_different_customers_number_one_after_the_other(
    race: Race[Invoicing], *, commits: bool
) -> None:
    one, two = race.watcher.household(deliveries=1), race.watcher.household(deliveries=1)
    race.first.single(one)
    waiting = race.second_waits(lambda: race.second.single(two))
    if commits:
        race.first.connection.commit()
    else:
        race.first.connection.rollback()
    waiting.result(timeout=10)
    assert numbers(race.watcher) == ([1, 2] if commits else [1])


def test_a_bulk_run_waits_for_a_single_invoice(race: Race[Invoicing]) -> None:
    one, two = race.watcher.household(deliveries=1), race.watcher.household(deliveries=1)
    race.first.single(one)
    waiting = race.second_waits(lambda: race.second.bulk(customers=[one, two], validate=False))
    race.first.connection.commit()
    answer = waiting.result(timeout=10)
    assert isinstance(answer, dict)
    assert outcomes(answer) == {one: "already_invoiced", two: "invoiced"}
    assert numbers(race.watcher) == [1, 2]


def test_a_single_invoice_waits_for_a_bulk_run(race: Race[Invoicing]) -> None:
    one, two = race.watcher.household(deliveries=1), race.watcher.household(deliveries=1)
    race.first.bulk(customers=[one, two])
    waiting = race.second_waits(lambda: race.second.single(two))
    race.first.connection.commit()
    with refused("already_invoiced", status=409):
        waiting.result(timeout=10)


def test_the_apps_insert_waits_for_a_bulk_run_and_is_refused(race: Race[Invoicing]) -> None:
    customer = race.watcher.household(deliveries=1)
    race.first.bulk(customers=[customer])
    waiting = race.second_waits(lambda: race.second.app_invoice(customer, LAST, LAST))
    race.first.connection.commit()
    with ruled_out("invoice_metadata_no_overlap"):
        waiting.result(timeout=10)


def test_a_bulk_run_waits_for_the_apps_insert(race: Race[Invoicing]) -> None:
    customer = race.watcher.household(deliveries=1)
    race.first.app_invoice(customer, LAST, LAST)
    waiting = race.second_waits(lambda: race.second.bulk(customers=[customer]))
    race.first.connection.commit()
    with refused("already_invoiced", status=409):
        waiting.result(timeout=10)


def test_two_inserts_of_the_app(race: Race[Invoicing]) -> None:
    customer = race.watcher.household()
    race.first.app_invoice(customer, FIRST, LAST)
    waiting = race.second_waits(lambda: race.second.app_invoice(customer, LAST, OCTOBER[1]))
    race.first.connection.commit()
    with ruled_out("invoice_metadata_no_overlap"):
        waiting.result(timeout=10)


def test_two_invoices_that_come_back_at_once(race: Race[Invoicing]) -> None:
    customer = race.watcher.household()
    one, two = (
        race.watcher.app_invoice(customer, FIRST, LAST, status="cancelled") for _ in range(2)
    )
    back = "update public.invoice_metadata set invoice_status = 'sent' where id = %s"
    race.first.run(back, one)
    waiting = race.second_waits(lambda: race.second.run(back, two))
    race.first.connection.commit()
    with ruled_out("invoice_metadata_no_overlap"):
        waiting.result(timeout=10)


@pytest.mark.parametrize("commits", [True, False])
def test_the_apps_own_number_and_a_call(race: Race[Invoicing], *, commits: bool) -> None:
    """Whoever is second waits; neither deadlocks nor meets the unique constraint."""
    customer, other = race.watcher.household(deliveries=1), race.watcher.household()
    code = year(race.watcher)
    race.first.app_invoice(other, FIRST, LAST, number=f"{code}00001")
    waiting = race.second_waits(lambda: race.second.single(customer)["invoice_number"])
    if commits:
        race.first.connection.commit()
    else:
        race.first.connection.rollback()
    assert waiting.result(timeout=10) == f"{code}0000{2 if commits else 1}"


def test_who_waits_for_a_customer_holds_no_counter(race: Race[Invoicing]) -> None:
    """Otherwise a call that holds the customer and wants a number would deadlock with him."""
    customer, other = race.watcher.household(deliveries=1), race.watcher.household(deliveries=1)
    number = f"{year(race.watcher)}00050"
    race.first.value("select 1 from public.customers where id = %s for no key update", other)
    waiting = race.second_waits(lambda: race.second.app_invoice(other, FIRST, LAST, number=number))
    race.watcher.run("set lock_timeout = '5s'")
    try:
        assert race.watcher.single(customer)["invoice_number"].endswith("00001")
    finally:
        race.first.connection.commit()
        waiting.result(timeout=10)
    assert numbers(race.watcher) == [1, 50]


def test_a_call_and_the_apps_own_number(race: Race[Invoicing]) -> None:
    customer, other = race.watcher.household(deliveries=1), race.watcher.household()
    code = year(race.watcher)
    race.first.single(customer)
    waiting = race.second_waits(
        lambda: race.second.app_invoice(other, FIRST, LAST, number=f"{code}00001")
    )
    race.first.connection.commit()
    with pytest.raises(psycopg.errors.UniqueViolation):
        waiting.result(timeout=10)


def test_a_payment_of_a_sale_waits_for_its_invoice(race: Race[Invoicing]) -> None:
    customer = race.watcher.household()
    sale = race.watcher.sale(customer, FIRST, 100)
    payment = race.watcher.payment(customer, 100)
    race.first.single(customer)
    waiting = race.second_waits(
        lambda: race.second.ask(
            "public.allocate_payment_to_sales_atomic(%s, %s::jsonb)",
            payment,
            f'[{{"saleId": "{sale}"}}]',
        )
    )
    race.first.connection.commit()
    with pytest.raises(psycopg.DatabaseError) as caught:
        waiting.result(timeout=10)
    assert (caught.value.sqlstate or "").startswith("PT4")
    assert race.watcher.broken() == []


def test_an_invoice_waits_for_the_payment_of_a_sale(race: Race[Invoicing]) -> None:
    customer = race.watcher.household(deliveries=1)
    sale = race.watcher.sale(customer, FIRST, 100)
    payment = race.watcher.payment(customer, 100)
    race.first.ask(
        "public.allocate_payment_to_sales_atomic(%s, %s::jsonb)",
        payment,
        f'[{{"saleId": "{sale}"}}]',
    )
    waiting = race.second_waits(lambda: race.second.single(customer)["total_amount"])
    race.first.connection.commit()
    assert waiting.result(timeout=10) == 93
    assert race.watcher.broken() == []


@pytest.mark.parametrize("commits", [True, False])
def test_one_key_twice_at_once(race: Race[Invoicing], *, commits: bool) -> None:
    customers = [race.watcher.household(deliveries=1) for _ in range(3)]
    for books in (race.first, race.second):
        books.setting(KEY, "september")
    race.first.connection.commit()
    first = race.first.bulk(customers=customers)
    waiting = race.second_waits(lambda: race.second.bulk(customers=customers))
    if commits:
        race.first.connection.commit()
    else:
        race.first.connection.rollback()
    second = waiting.result(timeout=10)
    assert isinstance(second, dict)
    assert (second == first) is commits
    assert numbers(race.watcher) == [1, 2, 3]


@pytest.mark.parametrize("rounds", [3, pytest.param(60, marks=pytest.mark.long)])
def test_many_at_once(dairy_hardened: Database, rounds: int) -> None:
    """Bulk runs, single invoices and the app's inserts: each customer once, no number missing."""
    callers = 8
    books = Invoicing(dairy_hardened.connect(autocommit=True))
    sessions = [Invoicing(dairy_hardened.connect(autocommit=True)) for _ in range(callers)]
    together = Barrier(callers)

    def call(number: int, customers: list[UUID]) -> None:
        together.wait(timeout=30)
        session = sessions[number]
        try:
            if number < 3:
                session.bulk(customers=customers[:: (-1) ** number], validate=number == 0)
            elif number < 6:
                session.single(customers[number])
            elif number == 6:
                session.app_invoice(customers[0], FIRST, LAST)
            else:
                session.ask(
                    "public.delete_bulk_invoices_safe(array(select id from public.invoice_metadata"
                    " where customer_id = any(%s)))",
                    customers,
                )
        except psycopg.Error as error:
            if error.sqlstate not in {"PT400", "PT404", "PT409", "PT422", "23514"}:
                raise

    with ThreadPoolExecutor(callers) as pool:
        for _ in range(rounds):
            customers = [books.household(deliveries=2) for _ in range(8)]
            for done in [pool.submit(call, number, customers) for number in range(callers)]:
                done.result(timeout=60)
            assert books.broken() == []
    assert books.violations() == set()
    numbers = books.rows(
        "select right(invoice_number, 5)::int from public.invoice_metadata"
        " where invoice_number is not null order by 1"
    )
    assert [number for (number,) in numbers] == list(range(1, len(numbers) + 1))
