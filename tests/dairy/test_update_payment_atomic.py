"""update_payment_atomic: amount and allocations change together, or not at all."""

from decimal import Decimal
from uuid import UUID

import pytest

from dairy.books import Books, refused
from dairy.undoing import KEY, update, update_as_told
from support.databases import Database


@pytest.fixture
def books(dairy_003: Database) -> Books:
    """The books with gap 003 fixed, kept by the owner; every statement commits."""
    return Books(dairy_003.connect(autocommit=True))


class TestAmount:
    """p_amount: null keeps it, p_allocations null keeps the allocations."""

    def test_the_amount_changes_and_the_allocations_stay(self, books: Books) -> None:
        customer = books.customer()
        payment, invoice = books.payment(customer, 800), books.invoice(customer, 1000)
        books.allocate(payment, {invoice: 300})

        answer = update(books, payment, "750.50")

        assert answer == (
            True,
            0,
            300,
            Decimal("750.50"),
            Decimal("450.50"),
            "partially_applied",
            [],
        )
        assert books.allocations(payment) == {invoice: 300}
        assert books.payment_totals(payment) == (300, Decimal("450.50"), "partially_applied")
        assert books.unapplied(payment) == [Decimal("450.50")]
        assert books.broken() == []

    def test_an_amount_below_the_allocations_is_refused(self, books: Books) -> None:
        customer = books.customer()
        payment, invoice = books.payment(customer, 800), books.invoice(customer, 1000)
        books.allocate(payment, {invoice: 300})

        with refused("amount_below_allocated", status=409) as facts:
            update(books, payment, "299.99")

        assert facts == {"payment_id": str(payment), "requested": 299.99, "allocated": 300}
        assert update(books, payment, 300).allocation_status == "fully_applied"

    @pytest.mark.parametrize(
        "amount", ["NaN", "Infinity", "-Infinity", "1e30", "10.005", 0, -5, 10**10, "0.001"]
    )
    def test_what_is_no_sum_of_money_is_refused(self, books: Books, amount: str | int) -> None:
        payment = books.payment(books.customer(), 800)
        with refused("amount_invalid", status=400):
            update(books, payment, amount)
        assert books.payment_totals(payment) == (0, 800, "unapplied")

    def test_nothing_to_change_changes_nothing(self, books: Books) -> None:
        payment = books.payment(books.customer(), 800)
        assert update(books, payment).payment_amount == 800
        assert update(books, payment, "800.00").payment_amount == 800
        assert books.value("select count(*) from private.payment_edits") == 0


class TestReplacing:
    """p_allocations: what the payment pays of invoices afterwards."""

    def test_lowering_raising_leaving_and_joining_at_once(self, books: Books) -> None:
        customer = books.customer()
        payment = books.payment(customer, 1000)
        lowered, raised, left, joined = (books.invoice(customer, 500) for _ in range(4))
        books.allocate(payment, {lowered: 500, raised: 100, left: 400})

        answer = update(books, payment, 900, {raised: 500, joined: 150, lowered: "249.99"})

        assert answer.allocated_amount == Decimal("899.99")
        assert answer.unapplied_amount == Decimal("0.01")
        assert [each["applied"] for each in answer.applied] == [500, 150, 249.99]
        assert books.allocations(payment) == {
            lowered: Decimal("249.99"),
            raised: 500,
            joined: 150,
        }
        assert books.invoice_totals(left) == (0, 500, "sent")
        assert books.invoice_totals(raised) == (500, 0, "paid")
        assert books.broken() == []

    def test_an_empty_list_takes_all_of_it_off(self, books: Books) -> None:
        customer = books.customer()
        payment, invoice = books.payment(customer, 800), books.invoice(customer, 1000)
        books.allocate(payment, {invoice: 800})

        answer = update_as_told(books, payment, 5, "[]")

        assert (answer.payment_amount, answer.unapplied_amount) == (5, 5)
        assert books.allocations(payment) == {}
        assert books.unapplied(payment) == [5]

    def test_what_other_things_take_counts(self, books: Books) -> None:
        customer = books.customer(opening_balance=500)
        payment, invoice = books.payment(customer, 800), books.invoice(customer, 1000)
        books.run(
            "insert into public.opening_balance_payments (customer_id, payment_id, amount)"
            " values (%s, %s, 300)",
            customer,
            payment,
        )
        with refused("allocation_exceeds_payment", status=409) as facts:
            update(books, payment, 700, {invoice: 401})
        assert (facts["requested"], facts["available"]) == (401, 400)
        with refused("amount_below_allocated") as facts:
            update(books, payment, 299, {})
        assert facts["allocated"] == 300
        assert update(books, payment, 700, {invoice: 400}).total_allocated == 700


def test_unknown_payments_are_not_found(books: Books) -> None:
    with refused("payment_not_found", status=404):
        update(books, UUID(int=1), 5)
    with refused("payment_required", status=400):
        update(books, None, 5)


def test_with_a_key_the_first_answer_comes_again(books: Books) -> None:
    payment = books.payment(books.customer(), 800)
    books.setting(KEY, "once")
    first = update(books, payment, 900)
    books.run("update public.payments set amount = 1000")
    assert update(books, payment, "900.00") == first
    with refused("idempotency_key_reused"):
        update(books, payment, 901)
