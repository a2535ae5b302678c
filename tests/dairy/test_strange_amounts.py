"""Rows from before with what is no sum of money: nothing is taken from them, nothing put there.

10^10 is the first amount that is too large; NaN and infinity compare as larger than any.
"""

from uuid import UUID

import pytest

from dairy.billing import Billing
from dairy.books import refused, ruled_out
from dairy.settling import silently
from dairy.undoing import update
from support.databases import Database

STRANGE = ("10000000000", "NaN", "Infinity")


@pytest.fixture
def books(dairy_hardened: Database) -> Billing:
    return Billing(dairy_hardened.connect(autocommit=True))


@pytest.fixture(params=STRANGE)
def strange(request: pytest.FixtureRequest) -> str:
    amount = request.param
    assert isinstance(amount, str)
    return amount


def untouched(books: Billing, payment: UUID) -> bool:
    """Whether the payment pays nothing at all."""
    return bool(
        books.value(
            "select payment.amount_applied = 0 and not exists ("
            " select from public.invoice_payments where payment_id = payment.id)"
            " from public.payments as payment where payment.id = %s",
            payment,
        )
    )


def test_an_invoice_takes_nothing(dairy_hardened: Database, books: Billing, strange: str) -> None:
    customer = books.customer()
    payment, invoice = books.payment(customer, 500), books.invoice(customer, 100)
    silently(
        dairy_hardened,
        "update public.invoice_metadata set total_amount = %s, amount_outstanding = %s"
        " where id = %s",
        strange,
        strange,
        invoice,
    )
    with refused("allocation_exceeds_invoice") as facts:
        books.allocate(payment, {invoice: 1})
    assert facts["available"] == 0
    with refused("allocation_exceeds_invoice"):
        update(books, payment, None, {invoice: 1})
    with ruled_out("invoice_metadata_paid_within_total"):
        books.allocate_directly(payment, invoice, 1)
    assert books.allocate(payment, {invoice: 1}, validate=False).allocated_amount == 0
    assert books.auto(payment)["allocated_amount"] == 0
    assert untouched(books, payment)


def test_a_payment_gives_nothing(dairy_hardened: Database, books: Billing, strange: str) -> None:
    customer = books.customer(opening_balance=100)
    payment, invoice = books.payment(customer, 500), books.invoice(customer, 100)
    silently(
        dairy_hardened, "update public.payments set amount = %s where id = %s", strange, payment
    )
    with refused("allocation_exceeds_payment") as facts:
        books.allocate(payment, {invoice: 1})
    assert facts["available"] == 0
    with refused("allocation_exceeds_payment"):
        books.pay_opening(payment, customer, 1)
    with refused("allocation_exceeds_payment"):
        update(books, payment, None, {invoice: 1})
    with ruled_out("payments_applied_within_amount"):
        books.allocate_directly(payment, invoice, 1)
    assert books.allocate(payment, {invoice: 1}, validate=False).allocated_amount == 0
    assert books.auto(payment)["allocated_amount"] == 0
    assert untouched(books, payment)


def test_an_opening_balance_takes_nothing(
    dairy_hardened: Database, books: Billing, strange: str
) -> None:
    customer = books.customer(opening_balance=100)
    payment = books.payment(customer, 500)
    silently(
        dairy_hardened,
        "update public.customers set opening_balance = %s where id = %s",
        strange,
        customer,
    )
    with refused("allocation_exceeds_opening_balance") as facts:
        books.pay_opening(payment, customer, 1)
    assert facts["available"] == 0
    with ruled_out("customers_paid_within_opening_balance"):
        books.pay_opening_directly(payment, customer, 1)
    assert books.auto(payment)["allocated_amount"] == 0
    assert untouched(books, payment)


def test_a_sale_takes_nothing(dairy_hardened: Database, books: Billing, strange: str) -> None:
    customer = books.customer()
    payment, sale = books.payment(customer, 500), books.sale(customer, 100)
    silently(
        dairy_hardened, "update public.sales set total_amount = %s where id = %s", strange, sale
    )
    with refused("sale_not_payable"):
        books.pay_sales(payment, sale)
    with ruled_out("sales_payments_whole"):
        books.pay_sale_directly(payment, sale, 1)
    assert untouched(books, payment)
