"""auto_allocate_payment: the opening balance, then the oldest invoice."""

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from dairy.books import Rupees, refused
from dairy.settling import Settling
from dairy.undoing import roll_back, void
from support.databases import Database


@pytest.fixture
def books(dairy_005: Database) -> Settling:
    """The books with gap 005 fixed, kept by the owner; every statement commits."""
    return Settling(dairy_005.connect(autocommit=True))


def applied(answer: dict[str, Any]) -> tuple[Rupees, list[tuple[UUID, Rupees]]]:
    """What went to the opening balance and to which invoice, in that order."""
    found = answer["applied"]
    assert found["sales"] == []
    return found["opening_balance"], [
        (UUID(each["invoice_id"]), each["applied"]) for each in found["invoices"]
    ]


def test_the_opening_balance_comes_first(books: Settling) -> None:
    customer = books.customer(opening_balance=500)
    late, soon = (
        books.invoice(customer, 300, due=due) for due in (date(2999, 2, 1), date(2999, 1, 1))
    )
    payment = books.payment(customer, "850.50")

    answer = books.auto(payment)

    assert applied(answer) == (500, [(soon, 300), (late, Decimal("50.5"))])
    assert answer["allocated_amount"] == Decimal("850.5")
    assert (answer["unapplied_amount"], answer["allocation_status"]) == (0, "fully_applied")
    assert books.opening_paid(customer) == 500
    assert books.invoice_totals(soon).status == "paid"
    assert books.unapplied(payment) == []
    assert books.broken() == []
    assert books.violations() == set()


def test_oldest_first_leaves_the_opening_balance(books: Settling) -> None:
    customer = books.customer(opening_balance=500)
    invoice = books.invoice(customer, 300)
    answer = books.auto(books.payment(customer, 400), "oldest_first")
    assert applied(answer) == (0, [(invoice, 300)])
    assert answer["unapplied_amount"] == 100


def test_invoices_by_due_date_then_date_then_number(books: Settling) -> None:
    customer = books.customer()
    rows = {
        "d": ("2025-09-03", "2025-10-01", "20252600001"),
        "b": ("2025-09-02", "2025-09-15", "20252600009"),
        "c": ("2025-09-02", "2025-09-15", "20252600010"),
        "a": ("2025-09-01", "2025-09-15", "20252600011"),
        "undated": ("2025-09-14", None, "20252600012"),
    }
    made = {
        name: books.value(
            "insert into public.invoice_metadata (customer_id, invoice_date, due_date,"
            " invoice_number, period_start, period_end, total_amount, invoice_status)"
            " values (%s, %s, %s, %s, %s, %s, 10, 'sent') returning id",
            customer,
            *dates,
            date(2024, month, 1),
            date(2024, month, 2),
        )
        for month, (name, dates) in enumerate(rows.items(), start=1)
    }
    answer = books.auto(books.payment(customer, 45), "oldest_first")
    assert applied(answer)[1] == [
        (made["undated"], 10),
        (made["a"], 10),
        (made["b"], 10),
        (made["c"], 10),
        (made["d"], 5),
    ]


def test_money_that_ends_with_an_invoice_names_no_further_one(books: Settling) -> None:
    customer = books.customer(opening_balance=20)
    first, second, _ = (
        books.invoice(customer, 50, due=date(2999, month, 1)) for month in (1, 2, 3)
    )
    assert applied(books.auto(books.payment(customer, 120))) == (20, [(first, 50), (second, 50)])
    # Nor any at all, where the opening balance takes everything.
    other = books.customer(opening_balance=20)
    books.invoice(other, 50)
    assert applied(books.auto(books.payment(other, 20))) == (20, [])


def test_drafts_and_cancelled_invoices_are_left_out(books: Settling) -> None:
    customer = books.customer()
    for status in ("draft", "cancelled"):
        books.invoice(customer, 100, status=status)
    overdue = books.invoice(customer, 100, due=date(2025, 1, 1))
    part = books.invoice(customer, 100)
    books.allocate(books.payment(customer, 30), {part: 30})
    answer = books.auto(books.payment(customer, 500))
    assert applied(answer) == (0, [(overdue, 100), (part, 70)])
    assert books.broken() == []


def test_nothing_to_do_is_a_success_of_0(books: Settling) -> None:
    customer = books.customer()
    payment = books.payment(customer, 100)
    for strategy in ("opening_first", "oldest_first", None):
        answer = books.auto(payment, strategy)
        assert (answer["success"], answer["allocated_amount"]) == (True, 0)
    books.invoice(customer, 100)
    books.auto(payment)
    books.invoice(customer, 100)
    answer = books.auto(payment)
    assert (answer["allocated_amount"], answer["total_allocated"]) == (0, 100)


def test_the_strategy_has_a_default(books: Settling) -> None:
    customer = books.customer(opening_balance=10)
    payment = books.payment(customer, 100)
    answer = books.ask("public.auto_allocate_payment(p_payment_id => %s)", payment)
    assert answer["allocated_amount"] == 10


def test_refusals(books: Settling) -> None:
    payment = books.payment(books.customer(), 100)
    with refused("payment_required", status=400):
        books.auto(None)
    for strategy in ("", "OPENING_FIRST", "newest_first", "x" * 100_000):
        with refused("strategy_unknown", status=400):
            books.auto(payment, strategy)
    for strategy in ("opening_first", "oldest_first"):
        with refused("payment_not_found", status=404):
            books.auto(uuid4(), strategy)
        with refused("payment_without_customer", status=422):
            books.auto(books.payment(None, 100), strategy)
    void(books, payment)
    with refused("payment_voided", status=409):
        books.auto(payment)


def test_a_key_repeats_and_undoes_the_call(books: Settling) -> None:
    customer = books.customer(opening_balance=50)
    invoice, payment = books.invoice(customer, 100), books.payment(customer, 120)
    books.with_key()
    first = books.auto(payment)
    assert books.auto(payment, None) == first
    with refused("idempotency_key_reused", status=409):
        books.auto(payment, "oldest_first")
    assert roll_back(books, payment) == (True, 1, 120, True)
    assert books.opening_paid(customer) == 0
    assert books.invoice_totals(invoice).paid == 0
    with refused("request_undone", status=409):
        books.auto(payment)
    assert books.broken() == []
