"""Two sessions settle the same at once; the second is seen waiting before the first commits."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dairy.books import line, refused, ruled_out
from dairy.racing import Race, racing
from dairy.settling import Settling
from dairy.undoing import roll_back, void
from support.databases import Database
from support.sessions import wait_until_blocked


@pytest.fixture
def race(dairy_005: Database) -> Iterator[Race[Settling]]:
    with racing(dairy_005, Settling) as prepared:
        yield prepared


Settle = Callable[[Settling, Any, Any, int], object]
"""Pays so much of a customer's opening balance."""

WAYS: dict[str, Settle] = {
    "call": lambda books, payment, customer, amount: books.pay_opening(payment, customer, amount),
    "directly": lambda books, payment, customer, amount: books.pay_opening_directly(
        payment, customer, amount
    ),
    "record": lambda books, _, customer, amount: books.record(
        customer_id=customer, amount=800, opening_balance=amount
    ),
}


@pytest.mark.parametrize("one", WAYS)
@pytest.mark.parametrize("two", WAYS)
def test_two_callers_of_the_same_remaining_opening_balance(
    race: Race[Settling], one: str, two: str
) -> None:
    customer = race.watcher.customer(opening_balance=500)
    payments = [race.watcher.payment(customer, 800) for _ in range(2)]

    WAYS[one](race.first, payments[0], customer, 300)
    waiting = race.second_waits(lambda: WAYS[two](race.second, payments[1], customer, 300))

    if two == "directly":
        with ruled_out("customers_paid_within_opening_balance"):
            race.first_commits(waiting)
    else:
        with refused("allocation_exceeds_opening_balance", status=409) as facts:
            race.first_commits(waiting)
        assert facts["available"] == 200
    assert race.watcher.opening_paid(customer) == 300
    assert race.watcher.broken() == []


@pytest.mark.parametrize("two", ["call", "record"])
def test_the_second_gets_what_the_first_gave_back(race: Race[Settling], two: str) -> None:
    customer = race.watcher.customer(opening_balance=500)
    payments = [race.watcher.payment(customer, 800) for _ in range(2)]

    race.first.pay_opening(payments[0], customer, 300)
    waiting = race.second_waits(lambda: WAYS[two](race.second, payments[1], customer, 300))
    race.first.connection.rollback()

    waiting.result(timeout=10)
    assert race.watcher.opening_paid(customer) == 300


def test_one_payment_for_opening_balance_and_invoice(race: Race[Settling]) -> None:
    customer = race.watcher.customer(opening_balance=500)
    payment, invoice = race.watcher.payment(customer, 500), race.watcher.invoice(customer, 500)

    race.first.pay_opening(payment, customer, 300)
    waiting = race.second_waits(lambda: race.second.allocate(payment, {invoice: 300}))

    with refused("allocation_exceeds_payment") as facts:
        race.first_commits(waiting)
    assert facts["available"] == 200


def test_one_payment_for_invoice_and_opening_balance(race: Race[Settling]) -> None:
    customer = race.watcher.customer(opening_balance=500)
    payment, invoice = race.watcher.payment(customer, 500), race.watcher.invoice(customer, 500)

    race.first.allocate(payment, {invoice: 300})
    waiting = race.second_waits(lambda: race.second.pay_opening(payment, customer, 300))

    with refused("allocation_exceeds_payment") as facts:
        race.first_commits(waiting)
    assert facts["available"] == 200


def test_a_direct_insert_of_the_same_pair_does_not_deadlock_with_the_call(
    race: Race[Settling],
) -> None:
    """Both want customer, payment and the unique key of the pair, and in that order."""
    customer = race.watcher.customer(opening_balance=500)
    payment = race.watcher.payment(customer, 500)

    race.first.pay_opening_directly(payment, customer, 300)
    waiting = race.second_waits(lambda: race.second.pay_opening(payment, customer, 200))
    race.first_commits(waiting)

    assert race.watcher.opening_paid(customer) == 500


@pytest.mark.parametrize("written", ["insert", "delete"])
def test_a_direct_write_takes_the_customer_before_the_payment(
    dairy_005: Database, race: Race[Settling], written: str
) -> None:
    """Behind a call that waits for the customer, it must not hold the payment that it wants."""
    third = Settling(dairy_005.connect(autocommit=True))
    customer = race.watcher.customer(opening_balance=500)
    payment, other = (race.watcher.payment(customer, 500) for _ in range(2))
    race.watcher.invoice(customer, 300)
    if written == "delete":
        race.watcher.pay_opening(payment, customer, 200)
        race.watcher.pay_opening(other, customer, 300)
    write = {
        "insert": lambda: third.pay_opening_directly(payment, customer, 200),
        "delete": lambda: third.run(
            "delete from public.opening_balance_payments where payment_id = %s", payment
        ),
    }[written]

    race.first.run("update public.customers set address = 'moved' where id = %s", customer)
    call = race.second_waits(
        lambda: race.second.auto(payment) if written == "delete" else void(race.second, payment)
    )
    direct = race.pool.submit(write)
    wait_until_blocked(race.watcher.connection, third.connection.info.backend_pid)
    race.first_commits(call)

    if written == "insert":
        with ruled_out("payments_voided_holds_nothing"):
            direct.result(timeout=10)
    else:
        direct.result(timeout=10)
    assert race.watcher.broken() == []


def test_editing_the_balance_waits_and_is_refused(race: Race[Settling]) -> None:
    customer = race.watcher.customer(opening_balance=500)
    payment = race.watcher.payment(customer, 500)
    change = "update public.customers set opening_balance = 200 where id = %s"

    race.first.pay_opening(payment, customer, 300)
    waiting = race.second_waits(lambda: race.second.run(change, customer))

    with ruled_out("customers_paid_within_opening_balance"):
        race.first_commits(waiting)


def test_paying_waits_for_an_edit_of_the_balance_and_is_refused(race: Race[Settling]) -> None:
    customer = race.watcher.customer(opening_balance=500)
    payment = race.watcher.payment(customer, 500)

    race.first.run("update public.customers set opening_balance = 200 where id = %s", customer)
    waiting = race.second_waits(lambda: race.second.pay_opening(payment, customer, 300))

    with refused("allocation_exceeds_opening_balance") as facts:
        race.first_commits(waiting)
    assert facts["available"] == 200


def test_a_customers_other_columns_are_edited_without_loss(race: Race[Settling]) -> None:
    customer = race.watcher.customer(opening_balance=500)
    payment = race.watcher.payment(customer, 500)

    race.first.pay_opening(payment, customer, 300)
    waiting = race.second_waits(
        lambda: race.second.run(
            "update public.customers set address = 'moved', opening_balance = 500,"
            " opening_balance_paid = 0 where id = %s",
            customer,
        )
    )
    race.first_commits(waiting)
    assert race.watcher.opening_paid(customer) == 300


SALE_WAYS: dict[str, Settle] = {
    "call": lambda books, payment, sale, _: books.pay_sales(payment, sale),
    "directly": lambda books, payment, sale, amount: books.pay_sale_directly(payment, sale, amount),
}


@pytest.mark.parametrize("one", SALE_WAYS)
@pytest.mark.parametrize("two", SALE_WAYS)
def test_a_sale_paid_twice_at_once(race: Race[Settling], one: str, two: str) -> None:
    customer = race.watcher.customer()
    payments = [race.watcher.payment(customer, 100) for _ in range(2)]
    sale = race.watcher.sale(customer, 100)

    SALE_WAYS[one](race.first, payments[0], sale, 100)
    waiting = race.second_waits(lambda: SALE_WAYS[two](race.second, payments[1], sale, 100))

    if two == "directly":
        with ruled_out("sales_payments_whole"):
            race.first_commits(waiting)
    else:
        with refused("sale_already_paid", status=409):
            race.first_commits(waiting)
    assert race.watcher.sale_state(sale) == (100, "Completed")
    assert race.watcher.broken() == []


@pytest.mark.parametrize("one", SALE_WAYS)
def test_a_sale_is_billed_while_it_is_paid(race: Race[Settling], one: str) -> None:
    customer = race.watcher.customer()
    payment, invoice = race.watcher.payment(customer, 100), race.watcher.invoice(customer, 100)
    sale = race.watcher.sale(customer, 100)

    SALE_WAYS[one](race.first, payment, sale, 100)
    waiting = race.second_waits(lambda: race.second.bill(invoice, sale))

    with ruled_out("invoice_line_items_sale_unpaid"):
        race.first_commits(waiting)


@pytest.mark.parametrize("two", SALE_WAYS)
def test_a_sale_is_paid_while_it_is_billed(race: Race[Settling], two: str) -> None:
    customer = race.watcher.customer()
    payment, invoice = race.watcher.payment(customer, 100), race.watcher.invoice(customer, 100)
    sale = race.watcher.sale(customer, 100)

    race.first.bill(invoice, sale)
    waiting = race.second_waits(lambda: SALE_WAYS[two](race.second, payment, sale, 100))

    if two == "directly":
        with ruled_out("sales_payments_unbilled"):
            race.first_commits(waiting)
    else:
        with refused("sale_billed", status=409):
            race.first_commits(waiting)
    assert race.watcher.sale_state(sale) == (0, "Billed")


def test_opposite_orders_of_sales_lock_in_one_order(race: Race[Settling]) -> None:
    customer = race.watcher.customer()
    payments = [race.watcher.payment(customer, 1200) for _ in range(2)]
    sales = [race.watcher.sale(customer, 100) for _ in range(12)]

    race.first.pay_sales(payments[0], *sales)
    waiting = race.second_waits(lambda: race.second.pay_sales(payments[1], *reversed(sales)))

    with refused("sale_already_paid"):
        race.first_commits(waiting)


def test_a_billed_sale_is_refused_without_waiting_for_its_invoice(race: Race[Settling]) -> None:
    """Waiting, it would hold another sale that the invoice's call may want: a deadlock."""
    customer = race.watcher.customer()
    payment, other = (race.watcher.payment(customer, 300) for _ in range(2))
    invoice, billed = race.watcher.invoice(customer, 100), race.watcher.sale(customer, 100)
    free, own = (race.watcher.sale(customer, 100) for _ in range(2))
    race.watcher.bill(invoice, billed)
    race.second.run("set lock_timeout = '1s'")

    race.first.allocate(payment, {invoice: 100})
    with refused("sale_billed", status=409):
        race.second.pay_sales(other, free, billed)
    with refused("sale_billed", status=409):
        race.second.record(
            customer_id=customer,
            amount=200,
            sales=[{"saleId": str(sale)} for sale in (free, billed)],
        )
    race.second.record(customer_id=customer, amount=100, sales=[{"saleId": str(own)}])
    race.first.connection.commit()
    assert race.watcher.broken() == []


def test_recording_and_allocating_meet_on_an_invoice(race: Race[Settling]) -> None:
    customer = race.watcher.customer()
    payment, invoice = race.watcher.payment(customer, 500), race.watcher.invoice(customer, 500)

    race.first.record(customer_id=customer, amount=500, allocations=[line(invoice, 300)])
    waiting = race.second_waits(lambda: race.second.allocate(payment, {invoice: 300}))

    with refused("allocation_exceeds_invoice") as facts:
        race.first_commits(waiting)
    assert facts["available"] == 200
    assert race.watcher.broken() == []


@pytest.mark.parametrize("strategy", ["opening_first", "oldest_first"])
def test_allocating_by_itself_takes_what_the_first_left(
    race: Race[Settling], strategy: str
) -> None:
    customer = race.watcher.customer(opening_balance=100)
    payments = [race.watcher.payment(customer, 400) for _ in range(2)]
    invoice = race.watcher.invoice(customer, 500)

    race.first.auto(payments[0], strategy)
    waiting = race.second_waits(lambda: race.second.auto(payments[1], strategy))

    left = 200 if strategy == "opening_first" else 100
    assert race.first_commits(waiting)["allocated_amount"] == left
    assert race.watcher.opening_paid(customer) == left - 100
    assert race.watcher.invoice_totals(invoice).status == "paid"
    assert race.watcher.broken() == []


def test_one_payment_allocated_by_itself_twice(race: Race[Settling]) -> None:
    customer = race.watcher.customer(opening_balance=100)
    payment = race.watcher.payment(customer, 500)

    race.first.auto(payment, "oldest_first")
    waiting = race.second_waits(lambda: race.second.auto(payment))

    assert race.first_commits(waiting)["allocated_amount"] == 100


def test_a_payment_that_goes_to_another_customer_meanwhile(race: Race[Settling]) -> None:
    customer, other = (race.watcher.customer(opening_balance=100) for _ in range(2))
    payment = race.watcher.payment(customer, 500)
    change = "update public.payments set customer_id = %s where id = %s"

    race.first.run(change, other, payment)
    waiting = race.second_waits(lambda: race.second.auto(payment))
    with refused("payment_moved", status=409):
        race.first_commits(waiting)

    race.first.run(change, customer, payment)
    waiting = race.second_waits(lambda: race.second.pay_opening(payment, other, 100))
    with refused("customer_mismatch", status=422):
        race.first_commits(waiting)
    assert race.watcher.broken() == []


def test_voiding_and_settling_take_the_customer_first(race: Race[Settling]) -> None:
    customer = race.watcher.customer(opening_balance=500)
    payment = race.watcher.payment(customer, 500)
    race.watcher.pay_opening(payment, customer, 100)

    race.first.pay_opening(payment, customer, 100)
    waiting = race.second_waits(lambda: void(race.second, payment))
    assert race.first_commits(waiting).removed_amount == 200

    other = race.watcher.payment(customer, 500)
    void(race.first, other)
    waiting = race.second_waits(lambda: race.second.pay_opening(other, customer, 100))
    with refused("payment_voided", status=409):
        race.first_commits(waiting)
    assert race.watcher.opening_paid(customer) == 0
    assert race.watcher.broken() == []


def test_the_same_key_at_once_records_one_payment(race: Race[Settling]) -> None:
    customer = race.watcher.customer(opening_balance=500)
    for books in (race.first, race.second):
        books.with_key("one click")
    race.first.connection.commit()

    first = race.first.record(customer_id=customer, amount=100, opening_balance=100)
    waiting = race.second_waits(
        lambda: race.second.record(customer_id=customer, amount=100, opening_balance=100)
    )

    assert race.first_commits(waiting) == first
    assert race.watcher.value("select count(*) from public.payments") == 1


def test_undoing_waits_for_the_call_that_it_undoes(race: Race[Settling]) -> None:
    customer = race.watcher.customer(opening_balance=500)
    payment = race.watcher.payment(customer, 300)
    for books in (race.first, race.second):
        books.with_key("timed out")
    race.first.connection.commit()

    race.first.pay_opening(payment, customer, 100)
    waiting = race.second_waits(lambda: roll_back(race.second, payment))

    assert race.first_commits(waiting) == (True, 0, 100, True)
    assert race.watcher.opening_paid(customer) == 0
    assert race.watcher.broken() == []
