"""The app's two status functions: they refresh what depends on the day and overwrite nothing."""

from collections.abc import Iterator
from datetime import date
from uuid import UUID

import psycopg
import pytest

from dairy.books import Books
from dairy.racing import Race, racing
from dairy.stages import first_and_last
from support.databases import Database

database = first_and_last("dairy_002")


FUNCTIONS = ("update_invoice_status", "update_invoice_status_with_sales_completion")


@pytest.fixture
def books(database: Database) -> Books:
    """The books with the gap fixed, kept by the owner; every statement commits."""
    return Books(database.connect(autocommit=True))


@pytest.fixture(params=FUNCTIONS)
def refresh(request: pytest.FixtureRequest) -> str:
    """The call of one of them."""
    return f"select public.{request.param}(%s)"


def test_an_invoice_past_its_day_is_overdue_and_back(books: Books, refresh: str) -> None:
    invoice = books.invoice(books.customer(), 100)
    books.run("alter table public.invoice_metadata disable trigger derive_invoice_on_update")
    books.run(
        "update public.invoice_metadata set due_date = public.business_today() - 1 where id = %s",
        invoice,
    )
    books.run("alter table public.invoice_metadata enable trigger derive_invoice_on_update")
    assert books.invoice_totals(invoice).status == "sent"  # as after a night

    books.run(refresh, invoice)

    assert books.invoice_totals(invoice) == (0, 100, "overdue")


def test_the_day_is_the_dairys(books: Books, refresh: str) -> None:
    """Due on the dairy's today is not overdue, whatever the server's day is."""
    invoice = books.invoice(
        books.customer(), 100, due=books.value("select public.business_today()")
    )
    books.run(refresh, invoice)
    assert books.invoice_totals(invoice).status == "sent"


def test_paid_and_partially_paid_stay(books: Books, refresh: str) -> None:
    customer = books.customer()
    payment, invoice = books.payment(customer, 100), books.invoice(customer, 100)
    for amount, status in ((40, "partially_paid"), (60, "paid")):
        books.allocate(payment, {invoice: amount})
        books.run(refresh, invoice)
        assert books.invoice_totals(invoice).status == status


@pytest.mark.parametrize("status", ["draft", "cancelled"])
def test_what_the_user_meant_stays(books: Books, refresh: str, status: str) -> None:
    """The old ones sent a draft that had been due."""
    invoice = books.invoice(books.customer(), 100, status=status, due=date(2025, 1, 1))
    books.run(refresh, invoice)
    assert books.invoice_totals(invoice).status == status


def test_an_unknown_invoice_is_no_error(books: Books, refresh: str) -> None:
    assert books.value(refresh, UUID(int=1)) == ""
    assert books.value(refresh, None) == ""


def test_a_sale_that_joined_a_paid_invoice_is_completed(books: Books) -> None:
    customer = books.customer()
    payment, invoice = books.payment(customer, 100), books.invoice(customer, 100)
    books.allocate(payment, {invoice: 100})
    sale, other = (
        books.value(
            "insert into public.sales (customer_id, product_id, quantity, unit_price,"
            " total_amount, sale_type, payment_status) select %s, id, 1, 10, 10, 'Credit',"
            " 'Billed' from public.products limit 1 returning id",
            customer,
        )
        for _ in range(2)
    )
    books.run(
        "insert into public.invoice_line_items (invoice_id, line_item_type, sale_id, quantity,"
        " unit_price, line_total) values (%s, 'manual_sale', %s, 1, 10, 10)",
        invoice,
        sale,
    )

    books.run("select public.update_invoice_status_with_sales_completion(%s)", invoice)

    statuses = dict(
        books.rows("select id, payment_status from public.sales where customer_id = %s", customer)
    )
    assert statuses == {sale: "Completed", other: "Billed"}


def test_the_apps_role_calls_them_and_nobody_else(database: Database, refresh: str) -> None:
    for role in ("authenticated", "service_role"):
        books = Books(database.connect(role=role, autocommit=True))
        books.run(refresh, UUID(int=1))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        Books(database.connect(role="anon", autocommit=True)).run(refresh, UUID(int=1))


@pytest.fixture
def race(database: Database) -> Iterator[Race[Books]]:
    with racing(database, Books) as prepared:
        yield prepared


def test_no_write_is_overwritten_by_what_was_read_before(race: Race[Books], refresh: str) -> None:
    """The regression: the sum was read without a lock and written over whatever came meanwhile."""
    customer = race.watcher.customer()
    payment, invoice = race.watcher.payment(customer, 100), race.watcher.invoice(customer, 100)

    race.first.allocate(payment, {invoice: 60})
    waiting = race.second_waits(lambda: race.second.run(refresh, invoice))
    race.first.connection.commit()

    waiting.result(timeout=10)
    assert race.watcher.invoice_totals(invoice) == (60, 40, "partially_paid")
    assert race.watcher.broken() == []


def test_an_error_fails_the_call(race: Race[Books], refresh: str) -> None:
    """The regression: errors were caught, and every call said that all was well."""
    customer = race.watcher.customer()
    payment, invoice = race.watcher.payment(customer, 100), race.watcher.invoice(customer, 100)
    race.first.allocate(payment, {invoice: 60})
    race.second.run("set lock_timeout = '50ms'")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        race.second.run(refresh, invoice)
    race.first.connection.rollback()
