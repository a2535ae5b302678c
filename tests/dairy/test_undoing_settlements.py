"""What one call put on opening balances and sales comes off, and nothing else, by the journal."""

from typing import Any
from uuid import UUID

import pytest

from dairy.settling import Settling, silently
from dairy.undoing import KEY, roll_back
from support.databases import Database


@pytest.fixture
def books(dairy_hardened: Database) -> Settling:
    return Settling(dairy_hardened.connect(autocommit=True))


@pytest.fixture
def customer(books: Settling) -> UUID:
    """Who owes 500 from before."""
    return books.customer(opening_balance=500)


def take_off_directly(books: Settling, payment: UUID, amount: int) -> None:
    """As the app corrects a row by hand."""
    books.setting(KEY, "")
    books.run(
        "update public.opening_balance_payments set amount = amount - %s where payment_id = %s",
        amount,
        payment,
    )


def undo(books: Settling, key: str, payment: UUID) -> Any:  # noqa: ANN401 - rupees
    """What comes off when the call with this key is undone."""
    books.setting(KEY, key)
    return roll_back(books, payment).removed_amount


def test_what_was_there_before_the_journal_began_stays(
    dairy_hardened: Database, books: Settling, customer: UUID
) -> None:
    """100 from before and 50 of the call; of these 150 somebody has taken 20 off."""
    payment = books.payment(customer, 800)
    books.pay_opening(payment, customer, 100)
    silently(dairy_hardened, "delete from private.settlement_journal")
    books.with_key("one")
    books.pay_opening(payment, customer, 50)
    take_off_directly(books, payment, 20)

    assert undo(books, "one", payment) == 30
    assert books.opening_paid(customer) == 100
    assert books.broken() == []


@pytest.mark.parametrize("made", ["clock_timestamp()", "now() - interval '1 day'"])
def test_what_the_app_dates_itself_comes_off_like_anything_else(
    dairy_hardened: Database, books: Settling, customer: UUID, made: str
) -> None:
    """A restore is the owner's: the roles of the API don't pass for one by a date."""
    payment, sale = books.payment(customer, 800), books.sale(customer, 60)
    somebody = Settling(dairy_hardened.connect(role="authenticated", autocommit=True))
    somebody.run(
        "insert into public.opening_balance_payments (customer_id, payment_id, amount, created_at)"
        f" values (%s, %s, 40, {made})",
        customer,
        payment,
    )
    somebody.run(
        "insert into public.sales_payments (sales_id, payment_id, amount_allocated, created_at)"
        f" values (%s, %s, 60, {made})",
        sale,
        payment,
    )

    assert roll_back(books, payment).removed_amount == 100
    assert books.opening_paid(customer) == 0
    assert books.broken() == []


def test_what_was_restored_is_entered_by_its_own_restore(books: Settling, customer: UUID) -> None:
    payment, sale = books.payment(customer, 800), books.sale(customer, 60)
    books.run(
        "insert into public.opening_balance_payments (customer_id, payment_id, amount, created_at)"
        " values (%s, %s, 40, '2025-09-10')",
        customer,
        payment,
    )
    books.run(
        "insert into public.sales_payments (sales_id, payment_id, amount_allocated, created_at)"
        " values (%s, %s, 60, '2025-09-10')",
        sale,
        payment,
    )

    assert books.rows("select amount_change from private.settlement_journal") == []
    assert books.rows(
        "select distinct created_at::date::text from public.opening_balance_payments"
    ) == [("2025-09-10",)]
    assert roll_back(books, payment).removed_amount == 0


def test_what_other_calls_put_there_stays(books: Settling, customer: UUID) -> None:
    payment = books.payment(customer, 800)
    for key, amount in (("one", 100), ("two", 50)):
        books.with_key(key)
        books.pay_opening(payment, customer, amount)
    take_off_directly(books, payment, 20)

    assert undo(books, "one", payment) == 80
    assert books.opening_paid(customer) == 50


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
@pytest.mark.parametrize("target", ["opening balance", "invoice"])
def test_calls_that_topped_up_the_same_come_off_one_by_one(
    books: Settling, customer: UUID, target: str, order: tuple[str, str]
) -> None:
    """Each key takes exactly its own: what another one took back is nobody's any more."""
    payment, invoice = books.payment(customer, 800), books.invoice(customer, 800)
    amounts = {"one": 100, "two": 50}
    for key, amount in amounts.items():
        books.with_key(key)
        if target == "invoice":
            books.allocate(payment, {invoice: amount})
        else:
            books.pay_opening(payment, customer, amount)
    assert [undo(books, key, payment) for key in order] == [amounts[key] for key in order]
    assert books.payment_totals(payment) == (0, 800, "unapplied")


def test_what_was_taken_off_whole_and_put_there_again_is_another_life(
    books: Settling, customer: UUID
) -> None:
    payment = books.payment(customer, 800)
    books.with_key("one")
    books.pay_opening(payment, customer, 100)
    books.setting(KEY, "")
    books.run("delete from public.opening_balance_payments where payment_id = %s", payment)
    books.with_key("two")
    books.pay_opening(payment, customer, 70)

    assert undo(books, "one", payment) == 0
    assert books.opening_paid(customer) == 70
    assert undo(books, "two", payment) == 70


def test_a_row_of_which_nothing_comes_off_is_not_touched(books: Settling, customer: UUID) -> None:
    payment, sale = books.payment(customer, 800), books.sale(customer, 100)
    books.with_key("one")
    books.pay_opening(payment, customer, 100)
    books.with_key("two")
    books.pay_sales(payment, sale)
    kept = "select to_jsonb(paid)::text from public.sales_payments as paid where payment_id = %s"
    before = books.rows(kept, payment)

    assert undo(books, "one", payment) == 100
    assert books.rows(kept, payment) == before
    assert books.sale_state(sale) == (100, "Completed")


def test_without_a_key_only_what_was_written_lately_comes_off(
    dairy_hardened: Database, books: Settling, customer: UUID
) -> None:
    payment, sale = books.payment(customer, 800), books.sale(customer, 100)
    books.pay_opening_directly(payment, customer, 100)
    books.pay_sale_directly(payment, sale, 100)
    silently(
        dairy_hardened,
        "update private.settlement_journal set at = at - interval '16 minutes'"
        " where sale_id is not null",
    )

    assert undo(books, "", payment) == 100
    assert books.opening_paid(customer) == 0
    assert books.sale_state(sale) == (100, "Completed")
