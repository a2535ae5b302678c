"""Two sessions at once, made deterministic: the second is seen waiting before the first commits."""

from collections.abc import Iterator

import psycopg
import pytest

from dairy.books import Books, refused, ruled_out
from dairy.racing import Race, racing
from support.databases import Database


@pytest.fixture
def race(dairy_001: Database) -> Iterator[Race[Books]]:
    with racing(dairy_001, Books) as prepared:
        yield prepared


def test_two_payments_of_one_invoice(race: Race[Books]) -> None:
    customer = race.watcher.customer()
    one, two = (race.watcher.payment(customer, 800) for _ in range(2))
    invoice = race.watcher.invoice(customer, 1000)

    race.first.allocate(one, {invoice: 800})
    waiting = race.second_waits(lambda: race.second.allocate(two, {invoice: 300}))
    race.first.connection.commit()

    with refused("allocation_exceeds_invoice") as facts:
        waiting.result(timeout=10)
    assert facts["available"] == 200
    assert race.watcher.invoice_totals(invoice) == (800, 200, "partially_paid")
    assert race.watcher.broken() == []


def test_two_callers_of_one_payment(race: Race[Books]) -> None:
    customer = race.watcher.customer()
    payment = race.watcher.payment(customer, 800)
    one, two = (race.watcher.invoice(customer, 1000) for _ in range(2))

    race.first.allocate(payment, {one: 500})
    waiting = race.second_waits(lambda: race.second.allocate(payment, {two: 500}))
    race.first.connection.commit()

    with refused("allocation_exceeds_payment") as facts:
        waiting.result(timeout=10)
    assert facts["available"] == 300


def test_the_second_gets_what_the_first_gave_back(race: Race[Books]) -> None:
    customer = race.watcher.customer()
    payment, invoice = race.watcher.payment(customer, 800), race.watcher.invoice(customer, 1000)

    race.first.allocate(payment, {invoice: 800})
    waiting = race.second_waits(lambda: race.second.allocate(payment, {invoice: 800}))
    race.first.connection.rollback()

    waiting.result(timeout=10)
    assert race.watcher.payment_totals(payment) == (800, 0, "fully_applied")


def test_cutting_is_measured_against_what_the_first_committed(race: Race[Books]) -> None:
    customer = race.watcher.customer()
    one, two = (race.watcher.payment(customer, 800) for _ in range(2))
    invoice = race.watcher.invoice(customer, 1000)

    race.first.allocate(one, {invoice: 800})
    waiting = race.second_waits(
        lambda: race.second.allocate(two, {invoice: 800}, validate=False).allocated_amount
    )
    race.first.connection.commit()

    assert waiting.result(timeout=10) == 200


def test_a_direct_insert_waits_for_the_call_and_is_refused(race: Race[Books]) -> None:
    customer = race.watcher.customer()
    payment = race.watcher.payment(customer, 800)
    one, two = (race.watcher.invoice(customer, 1000) for _ in range(2))

    race.first.allocate(payment, {one: 500})
    waiting = race.second_waits(lambda: race.second.allocate_directly(payment, two, 500))
    race.first.connection.commit()

    with ruled_out("payments_applied_within_amount"):
        waiting.result(timeout=10)


def test_a_direct_insert_of_the_same_pair_does_not_deadlock_with_the_call(
    race: Race[Books],
) -> None:
    """Both want the payment and the unique key of the pair; both take the payment first."""
    customer = race.watcher.customer()
    payment, invoice = race.watcher.payment(customer, 800), race.watcher.invoice(customer, 1000)

    race.first.allocate_directly(payment, invoice, 300)
    waiting = race.second_waits(lambda: race.second.allocate(payment, {invoice: 200}))
    race.first.connection.commit()

    waiting.result(timeout=10)
    assert race.watcher.allocations(payment) == {invoice: 500}


def test_two_direct_inserts_count_both(race: Race[Books]) -> None:
    customer = race.watcher.customer()
    one, two = (race.watcher.payment(customer, 800) for _ in range(2))
    invoice = race.watcher.invoice(customer, 1000)

    race.first.allocate_directly(one, invoice, 300)
    waiting = race.second_waits(lambda: race.second.allocate_directly(two, invoice, 400))
    race.first.connection.commit()

    waiting.result(timeout=10)
    assert race.watcher.invoice_totals(invoice) == (700, 300, "partially_paid")
    assert race.watcher.broken() == []


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        (
            "update public.payments set amount = 500 where id = %s",
            "payments_applied_within_amount",
        ),
        ("update public.payments set customer_id = null where id = %s", "payments_customer_fixed"),
    ],
)
def test_an_edit_of_the_payment_waits_and_is_refused(
    race: Race[Books], statement: str, rule: str
) -> None:
    customer = race.watcher.customer()
    payment, invoice = race.watcher.payment(customer, 800), race.watcher.invoice(customer, 1000)

    race.first.allocate(payment, {invoice: 800})
    waiting = race.second_waits(lambda: race.second.run(statement, payment))
    race.first.connection.commit()

    with ruled_out(rule):
        waiting.result(timeout=10)


def test_cancelling_waits_for_the_allocation_and_is_refused(race: Race[Books]) -> None:
    customer = race.watcher.customer()
    payment, invoice = race.watcher.payment(customer, 800), race.watcher.invoice(customer, 1000)

    race.first.allocate(payment, {invoice: 800})
    waiting = race.second_waits(
        lambda: race.second.run(
            "update public.invoice_metadata set invoice_status = 'cancelled' where id = %s", invoice
        )
    )
    race.first.connection.commit()

    with ruled_out("invoice_metadata_cancelled_holds_nothing"):
        waiting.result(timeout=10)


@pytest.mark.parametrize("directly", [False, True])
def test_allocating_waits_for_the_cancellation_and_is_refused(
    race: Race[Books],
    directly: bool,  # noqa: FBT001 - pytest's parameter
) -> None:
    customer = race.watcher.customer()
    payment, invoice = race.watcher.payment(customer, 800), race.watcher.invoice(customer, 1000)

    race.first.run(
        "update public.invoice_metadata set invoice_status = 'cancelled' where id = %s", invoice
    )
    if directly:
        waiting = race.second_waits(lambda: race.second.allocate_directly(payment, invoice, 800))
    else:
        waiting = race.second_waits(lambda: race.second.allocate(payment, {invoice: 800}))
    race.first.connection.commit()

    if directly:
        with ruled_out("invoice_metadata_cancelled_holds_nothing"):
            waiting.result(timeout=10)
    else:
        with refused("invoice_cancelled"):
            waiting.result(timeout=10)


def test_opposite_orders_lock_in_one_order(race: Race[Books]) -> None:
    """The second names the invoices the other way round and waits; nobody deadlocks."""
    customer = race.watcher.customer()
    one, two = (race.watcher.payment(customer, 1200) for _ in range(2))
    invoices = [race.watcher.invoice(customer, 1000) for _ in range(12)]

    race.first.allocate(one, dict.fromkeys(invoices, 100))
    waiting = race.second_waits(
        lambda: race.second.allocate(two, dict.fromkeys(reversed(invoices), 100))
    )
    race.first.connection.commit()

    waiting.result(timeout=10)
    assert {race.watcher.invoice_totals(each).paid for each in invoices} == {200}


def test_a_date_edited_during_an_allocation_is_not_lost(race: Race[Books]) -> None:
    customer = race.watcher.customer()
    one, two = (race.watcher.payment(customer, 100) for _ in range(2))
    invoice = race.watcher.invoice(customer, 1000)
    race.watcher.allocate(one, {invoice: 100})

    race.first.allocate(two, {invoice: 100})
    waiting = race.second_waits(
        lambda: race.second.run(
            "update public.payments set payment_date = '2025-12-31' where id = %s", one
        )
    )
    race.first.connection.commit()

    waiting.result(timeout=10)
    assert race.watcher.broken() == []


def test_a_direct_delete_that_crosses_a_call_ends_in_a_deadlock_report_or_well(
    race: Race[Books],
) -> None:
    """The one order that cannot be changed from a trigger: PostgreSQL itself resolves it."""
    customer = race.watcher.customer()
    payment, invoice = race.watcher.payment(customer, 800), race.watcher.invoice(customer, 1000)
    race.watcher.allocate(payment, {invoice: 300})

    race.first.value("select 1 from public.payments where id = %s for no key update", payment)
    waiting = race.second_waits(
        lambda: race.second.run(
            "delete from public.invoice_payments where payment_id = %s", payment
        )
    )
    try:
        race.first.allocate(payment, {invoice: 100})
    except psycopg.errors.DeadlockDetected:
        race.first.connection.rollback()
        waiting.result(timeout=10)
        left = 0
    else:
        race.first.connection.commit()
        with pytest.raises(psycopg.errors.DeadlockDetected):
            waiting.result(timeout=10)
        left = 400
    assert race.watcher.payment_totals(payment).applied == left
    assert race.watcher.broken() == []


def test_nobody_waits_for_an_allocation_of_others(race: Race[Books]) -> None:
    customer = race.watcher.customer()
    one, two = (race.watcher.payment(customer, 800) for _ in range(2))
    first, second = (race.watcher.invoice(customer, 1000) for _ in range(2))

    race.first.allocate(one, {first: 300})
    race.second.run("set lock_timeout = '1s'")
    race.second.allocate(two, {second: 300})
    race.second.payment(customer, 10)
    race.second.run("update public.customers set address = 'moved' where id = %s", customer)
    race.first.connection.commit()

    assert race.watcher.broken() == []
