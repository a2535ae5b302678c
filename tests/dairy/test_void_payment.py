"""void_payment: a payment that was none leaves every sum, and its row stays."""

import pytest

from dairy.books import Books, refused, ruled_out
from dairy.undoing import KEY, void
from support.databases import Database


@pytest.fixture
def books(dairy_002: Database) -> Books:
    """The books with gap 002 fixed, kept by the owner; every statement commits."""
    return Books(dairy_002.connect(autocommit=True))


def test_everything_comes_off_and_nothing_is_left(books: Books) -> None:
    customer = books.customer(opening_balance=500)
    payment, invoice = books.payment(customer, 800), books.invoice(customer, 300)
    books.allocate(payment, {invoice: 300})
    books.run(
        "insert into public.opening_balance_payments (customer_id, payment_id, amount)"
        " values (%s, %s, 200)",
        customer,
        payment,
    )

    answer = void(books, payment, "  cheque returned\n")

    assert answer[:4] == (True, 1, 500, 800)
    assert books.payment_totals(payment) == (0, 0, "unapplied")
    assert books.invoice_totals(invoice) == (0, 300, "sent")
    assert books.unapplied(payment) == []
    assert books.value("select count(*) from public.opening_balance_payments") == 0
    assert books.rows(
        "select voided_at is not null, voided_by, void_reason, amount from public.payments"
        " where id = %s",
        payment,
    ) == [(True, "postgres", "cheque returned", 800)]
    assert books.broken() == []
    assert books.violations() == set()
    with refused("payment_voided", status=409):
        void(books, payment)
    with refused("payment_voided", status=409):
        books.allocate(payment, {invoice: 1})
    for statement, rule in (
        ("update public.payments set voided_at = null", "payments_voided_for_good"),
        ("update public.payments set amount = 900", "payments_voided_for_good"),
    ):
        with ruled_out(rule):
            books.run(f"{statement} where id = %s", payment)
    with ruled_out("payments_voided_holds_nothing"):
        books.allocate_directly(payment, invoice, 1)
    books.run("update public.payments set amount_unapplied = 5, notes = 'x' where id = %s", payment)
    assert books.payment_totals(payment) == (0, 0, "unapplied")


def test_the_same_key_gets_the_same_answer(books: Books) -> None:
    payment = books.payment(books.customer(), 800)
    books.setting(KEY, "once")
    assert void(books, payment) == void(books, payment)
