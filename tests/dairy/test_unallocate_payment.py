"""unallocate_payment: money comes off invoices and is the customer's credit again."""

from uuid import UUID

import pytest

from dairy.books import Books, refused, session_past_triggers
from dairy.stages import first_and_last
from dairy.undoing import KEY, unallocate, void
from support.databases import Database

database = first_and_last("dairy_002")


@pytest.fixture
def books(database: Database) -> Books:
    """The books with the gap fixed, kept by the owner; every statement commits."""
    return Books(database.connect(autocommit=True))


@pytest.fixture
def paid(books: Books) -> tuple[UUID, UUID, UUID]:
    """A payment of 800 with 300 on one invoice and 200 on another."""
    customer = books.customer(opening_balance=500)
    payment = books.payment(customer, 800)
    one, two = books.invoice(customer, 300), books.invoice(customer, 1000)
    books.allocate(payment, {one: 300, two: 200})
    return payment, one, two


def test_one_invoice(books: Books, paid: tuple[UUID, UUID, UUID]) -> None:
    payment, one, two = paid

    answer = unallocate(books, payment, [one])

    assert answer == (True, 1, 300, 200, 800, 600, "partially_applied")
    assert books.allocations(payment) == {two: 200}
    assert books.invoice_totals(one) == (0, 300, "sent")
    assert books.unapplied(payment) == [600]
    assert books.broken() == []


def test_null_means_all_invoices_and_nothing_else(
    books: Books, paid: tuple[UUID, UUID, UUID]
) -> None:
    payment, *_ = paid
    books.run(
        "insert into public.opening_balance_payments (customer_id, payment_id, amount)"
        " select customer_id, id, 100 from public.payments where id = %s",
        payment,
    )

    assert unallocate(books, payment) == (True, 2, 500, 100, 800, 700, "partially_applied")
    assert unallocate(books, payment) == (True, 0, 0, 100, 800, 700, "partially_applied")

    assert books.allocations(payment) == {}


def test_naming_an_invoice_twice_takes_it_off_once(
    books: Books, paid: tuple[UUID, UUID, UUID]
) -> None:
    payment, one, _ = paid
    assert unallocate(books, payment, [one, one]).removed_amount == 300


def test_an_invoice_that_it_does_not_touch_refuses_the_whole_call(
    books: Books, paid: tuple[UUID, UUID, UUID]
) -> None:
    payment, one, _ = paid
    with refused("allocation_not_found", status=404) as facts:
        unallocate(books, payment, [one, UUID(int=7)])
    assert facts == {"payment_id": str(payment), "invoice_id": str(UUID(int=7))}
    assert books.payment_totals(payment).applied == 500


@pytest.mark.parametrize("invoices", [[], [None], [UUID(int=1), None]])
def test_an_empty_list_or_one_with_gaps_is_refused(
    books: Books, paid: tuple[UUID, UUID, UUID], invoices: list[UUID | None]
) -> None:
    with refused("invoice_ids_invalid", status=400):
        unallocate(books, paid[0], invoices)


def test_unknown_payments_are_not_found(books: Books) -> None:
    with refused("payment_not_found", status=404):
        unallocate(books, UUID(int=1))
    with refused("payment_required", status=400):
        unallocate(books, None)


def test_the_reason_is_journaled_and_need_not_be_given(
    books: Books, paid: tuple[UUID, UUID, UUID]
) -> None:
    payment, one, two = paid
    unallocate(books, payment, [one], "  of the brother ")
    unallocate(books, payment, [two], None)
    assert books.rows(
        "select invoice_id, amount_change, reason, call_id is not null"
        " from private.allocation_journal where amount_change < 0 order by id"
    ) == [(one, -300, "of the brother", True), (two, -200, None, True)]


def test_a_reason_is_measured(books: Books, paid: tuple[UUID, UUID, UUID]) -> None:
    payment, one, two = paid
    with refused("reason_too_long", status=400) as facts:
        unallocate(books, payment, [one], "x" * 1001)
    assert facts == {"length": 1001, "longest": 1000}
    unallocate(books, payment, [one], "ध" * 1000)
    unallocate(books, payment, [two], " \t\n ")
    assert books.value("select count(*) from private.allocation_journal where reason is null") == 3


def test_the_reason_of_one_call_is_not_the_next_ones(
    books: Books, paid: tuple[UUID, UUID, UUID]
) -> None:
    payment, one, _ = paid
    with books.connection.transaction():
        unallocate(books, payment, [one], "mine")
        books.run("delete from public.invoice_payments where payment_id = %s", payment)
    assert books.rows(
        "select reason, call_id is null from private.allocation_journal where amount_change < 0"
        " order by id"
    ) == [("mine", False), (None, True)]


def test_a_direct_writer_can_say_why_too(books: Books, paid: tuple[UUID, UUID, UUID]) -> None:
    books.setting("pymilk.reason", "by hand, as told on the phone")
    books.run("delete from public.invoice_payments where payment_id = %s", paid[0])
    assert books.rows(
        "select distinct reason from private.allocation_journal where amount_change < 0"
    ) == [("by hand, as told on the phone",)]


def test_with_a_key_the_first_answer_comes_again(
    books: Books, paid: tuple[UUID, UUID, UUID]
) -> None:
    payment, one, two = paid
    books.setting(KEY, "once")
    first = unallocate(books, payment, [two, one])
    books.setting(KEY, "")
    books.allocate(payment, {one: 50})
    books.setting(KEY, "once")

    assert unallocate(books, payment, [one, two, two], " booked wrongly ") == first

    assert books.allocations(payment) == {one: 50}
    with refused("idempotency_key_reused", status=409):
        unallocate(books, payment, [one])
    with refused("idempotency_key_reused", status=409):
        unallocate(books, payment, None)


def test_of_a_voided_payment_there_is_nothing_to_take_off(
    books: Books, paid: tuple[UUID, UUID, UUID]
) -> None:
    payment, one, _ = paid
    void(books, payment)
    assert unallocate(books, payment).removed_amount == 0
    with refused("allocation_not_found"):
        unallocate(books, payment, [one])
    assert books.payment_totals(payment) == (0, 0, "unapplied")
    assert books.unapplied(payment) == []


def test_a_legacy_payment_of_nobody_can_be_freed(database: Database, books: Books) -> None:
    """It offends (a payment without a customer is allocated) and can get better."""
    customer = books.customer()
    payment, invoice = books.payment(None, 100), books.invoice(customer, 100)
    owner = session_past_triggers(database)
    owner.allocate_directly(payment, invoice, 60)
    owner.run("update public.payments set amount_applied = 60, amount_unapplied = 40")
    owner.run("update public.invoice_metadata set amount_paid = 60 where id = %s", invoice)

    assert unallocate(books, payment).removed_amount == 60

    assert books.unapplied(payment) == []
    assert books.broken() == []


def test_who_calls_stands_in_the_journal(
    database: Database, books: Books, paid: tuple[UUID, UUID, UUID]
) -> None:
    app = Books(database.connect(role="authenticated", autocommit=True))
    unallocate(app, paid[0])
    assert books.rows(
        "select distinct recorded_by from private.allocation_journal where amount_change < 0"
    ) == [("authenticated",)]
