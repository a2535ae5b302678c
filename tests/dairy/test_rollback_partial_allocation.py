"""rollback_partial_allocation: an allocation that came to no end is undone, and nothing else."""

from uuid import UUID

import pytest

from dairy.books import Books, refused
from dairy.undoing import KEY, roll_back
from support.databases import Database


@pytest.fixture
def books(dairy_002: Database) -> Books:
    """The books with gap 002 fixed, kept by the owner; every statement commits."""
    return Books(dairy_002.connect(autocommit=True))


class TestWithoutAKey:
    """What the app's own calls left behind half-done comes off; what an RPC committed stays."""

    def test_two_legacy_rows_of_500_together(self, books: Books) -> None:
        customer = books.customer()
        payment = books.payment(customer, 800)
        one, two = books.invoice(customer, 1000), books.invoice(customer, 1000)
        books.allocate_directly(payment, one, 300)
        books.allocate_directly(payment, two, 200)

        assert roll_back(books, payment) == (True, 2, 500, True)

        assert books.allocations(payment) == {}
        assert books.payment_totals(payment) == (0, 800, "unapplied")
        assert books.invoice_totals(one) == (0, 1000, "sent")
        assert books.unapplied(payment) == [800]
        assert books.broken() == []
        assert roll_back(books, payment) == (True, 0, 0, False)

    def test_what_an_rpc_committed_stays(self, books: Books) -> None:
        customer = books.customer()
        payment, invoice = books.payment(customer, 800), books.invoice(customer, 1000)
        books.allocate(payment, {invoice: 300})

        assert roll_back(books, payment) == (True, 0, 0, False)

        assert books.allocations(payment) == {invoice: 300}

    def test_of_a_pair_that_both_made_only_the_direct_part_comes_off(self, books: Books) -> None:
        customer = books.customer()
        payment, invoice = books.payment(customer, 800), books.invoice(customer, 1000)
        books.allocate(payment, {invoice: 300})
        books.run("update public.invoice_payments set amount_allocated = 450")
        books.allocate(payment, {invoice: 100})

        assert roll_back(books, payment) == (True, 1, 150, False)

        assert books.allocations(payment) == {invoice: 400}
        assert roll_back(books, payment).removed_amount == 0


class TestWithAKey:
    """The key names the call to undo."""

    def test_exactly_that_call_is_undone(self, books: Books) -> None:
        customer = books.customer()
        payment, invoice = books.payment(customer, 800), books.invoice(customer, 1000)
        other = books.invoice(customer, 1000)
        books.allocate_directly(payment, invoice, 10)
        books.allocate(payment, {invoice: 100})
        books.setting(KEY, "timed out")
        books.allocate(payment, {invoice: 200, other: 50})

        assert roll_back(books, payment) == (True, 2, 250, False)
        assert roll_back(books, payment) == (True, 2, 250, False)

        assert books.allocations(payment) == {invoice: 110}
        with refused("request_undone", status=409):
            books.allocate(payment, {invoice: 200, other: 50})
        assert books.rows("select outcome, function_name from public.request_outcome('timed out')")[
            0
        ] == ("undone", "allocate_payment_atomic")

    def test_an_unknown_key_is_tombstoned(self, books: Books) -> None:
        customer = books.customer()
        payment, invoice = books.payment(customer, 800), books.invoice(customer, 1000)
        books.allocate_directly(payment, invoice, 10)
        books.setting(KEY, "not yet here")

        assert roll_back(books, payment) == (True, 0, 0, False)

        with refused("request_undone", status=409):
            books.allocate(payment, {invoice: 200})
        assert books.rows("select outcome from public.request_outcome('not yet here')") == [
            ("undone",)
        ]
        assert roll_back(books, payment) == (True, 0, 0, False)


def test_unknown_payments_are_not_found(books: Books) -> None:
    with refused("payment_not_found", status=404):
        roll_back(books, UUID(int=1))
    with refused("payment_required", status=400):
        roll_back(books, None)
