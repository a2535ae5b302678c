"""A call says when on every row that it moves; the app's own statements say it themselves."""

from collections.abc import Callable
from uuid import UUID

import pytest

from dairy.billing import Billing
from support.databases import Database

LONG_AGO = "2000-01-01"


@pytest.fixture
def books(dairy_hardened: Database) -> Billing:
    return Billing(dairy_hardened.connect(autocommit=True))


def call_invoice(books: Billing, payment: UUID, target: UUID) -> None:
    books.allocate(payment, {target: 100})


def write_invoice(books: Billing, payment: UUID, target: UUID) -> None:
    books.allocate_directly(payment, target, 100)


def call_opening(books: Billing, payment: UUID, target: UUID) -> None:
    books.pay_opening(payment, target, 100)


def write_opening(books: Billing, payment: UUID, target: UUID) -> None:
    books.pay_opening_directly(payment, target, 100)


def call_sale(books: Billing, payment: UUID, target: UUID) -> None:
    books.pay_sales(payment, target)


def write_sale(books: Billing, payment: UUID, target: UUID) -> None:
    books.pay_sale_directly(payment, target, 100)


MOVES: dict[str, tuple[Callable[..., None], Callable[..., None]]] = {
    "invoice_metadata": (call_invoice, write_invoice),
    "customers": (call_opening, write_opening),
    "sales": (call_sale, write_sale),
}
"""Table of what is paid → by a call, and by the app's insert."""


def stamped(books: Billing, table: str, row: UUID) -> bool:
    """Whether the row says that it was written lately."""
    return bool(
        books.value(
            f"select updated_at > {LONG_AGO!r}::date + 1 from public.{table} where id = %s", row
        )
    )


@pytest.mark.parametrize("called", [True, False], ids=["call", "app"])
@pytest.mark.parametrize("table", MOVES)
def test_payment_and_target(books: Billing, table: str, called: bool) -> None:  # noqa: FBT001 - pytest's parameter
    customer = books.customer(opening_balance=500)
    payment = books.payment(customer, 500)
    target = {
        "invoice_metadata": lambda: books.invoice(customer, 500),
        "customers": lambda: customer,
        "sales": lambda: books.sale(customer, 100),
    }[table]()
    for each in ("payments", table):
        books.run(f"update public.{each} set updated_at = %s", LONG_AGO)

    by_call, by_app = MOVES[table]
    (by_call if called else by_app)(books, payment, target)

    assert stamped(books, "payments", payment) == called
    assert stamped(books, table, target) == called


@pytest.mark.parametrize("called", [True, False], ids=["call", "app"])
def test_a_sale_that_is_settled_with_its_invoice(books: Billing, called: bool) -> None:  # noqa: FBT001 - pytest's parameter
    customer = books.customer()
    payment, sale = books.payment(customer, 500), books.sale(customer, 100)
    invoice = books.billed(customer, sale, total=100)
    books.run("update public.sales set updated_at = %s", LONG_AGO)

    (call_invoice if called else write_invoice)(books, payment, invoice)

    assert books.says(sale) == "Completed"
    assert stamped(books, "sales", sale) == called
