"""Texts are taken up to the length that the function states, and refused from the next one on."""

import json

import pytest

from dairy.billing import Billing
from dairy.books import refused
from dairy.undoing import void
from support.databases import Database

PADDED = "0" * 37 + "300"
"""300, written in as many characters as an amount may have: 40."""


@pytest.fixture
def books(dairy_hardened: Database) -> Billing:
    return Billing(dairy_hardened.connect(autocommit=True))


def test_a_reason_of_1000(books: Billing) -> None:
    payment = books.payment(books.customer(), 100)
    with refused("reason_too_long", status=400):
        void(books, payment, "x" * 1001)
    void(books, payment, "x" * 1000)
    assert (
        books.value("select void_reason from public.payments where id = %s", payment) == "x" * 1000
    )


def test_a_key_of_200(books: Billing) -> None:
    customer = books.customer()
    payment, invoice = books.payment(customer, 800), books.invoice(customer, 1000)
    books.with_key("k" * 201)
    with refused("idempotency_key_invalid", status=400):
        books.allocate(payment, {invoice: 300})
    books.with_key("k" * 200)
    books.allocate(payment, {invoice: 300})
    outcome = "select outcome from public.request_outcome(%s)"
    assert books.value(outcome, "k" * 200) == "done"
    with refused("idempotency_key_invalid", status=400):
        books.value(outcome, "k" * 201)


def test_an_amount_of_40_in_an_allocation(books: Billing) -> None:
    customer = books.customer()
    payment, invoice = books.payment(customer, 800), books.invoice(customer, 1000)
    with refused("amount_invalid", status=400):
        books.allocate(payment, {invoice: "0" + PADDED})
    assert books.allocate(payment, {invoice: PADDED}).allocated_amount == 300


def test_an_amount_of_40_in_a_payment(books: Billing) -> None:
    customer = books.customer()
    known = {"customer_id": customer, "payment_date": "2025-09-10"}
    with refused("amount_invalid", status=400):
        books.record(amount="0" + PADDED, **known)
    assert books.record(amount=PADDED, **known)["payment_amount"] == 300


def test_a_payment_method_of_100(books: Billing) -> None:
    method = "select public.normalize_payment_method(%s)"
    assert books.value(method, "cash" + " " * 96) == "Cash"
    with refused("payment_method_unknown", status=422):
        books.value(method, "cash" + " " * 97)


def test_a_bulk_operation_of_100_with_parameters_of_4_megabytes(books: Billing) -> None:
    opened = "select status from public.log_bulk_operation(%s, %s::jsonb)"
    size = books.value("select pg_column_size(%s::jsonb)", json.dumps({"a": ""}))
    most = json.dumps({"a": "x" * (4 * 1024**2 - size)})
    assert books.value(opened, "x" * 100, most) == "running"
    with refused("operation_invalid", status=400):
        books.value(opened, "x" * 101, "{}")
    with refused("parameters_invalid", status=400):
        books.value(opened, "x" * 100, most.replace("x", "xx", 1))
