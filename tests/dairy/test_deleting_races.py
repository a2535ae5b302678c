"""Deleting and recovering against everybody else: the second waits, and sees what the first did."""

from collections.abc import Iterator

import psycopg
import pytest

from dairy.billing import Billing
from dairy.books import refused, ruled_out
from dairy.racing import Race, racing
from dairy.stages import alone_and_with_all
from support.databases import Database


@pytest.fixture(params=alone_and_with_all("dairy_006"))
def those(request: pytest.FixtureRequest) -> Iterator[Race[Billing]]:
    database: Database = request.getfixturevalue(request.param)
    with racing(database, Billing) as race:
        yield race


@pytest.mark.parametrize(
    ("permanent", "reason"), [(False, "invoice_deleted"), (True, "invoice_not_found")]
)
def test_two_deletes(those: Race[Billing], permanent: bool, reason: str) -> None:  # noqa: FBT001 - pytest's parameter
    customer = those.watcher.customer()
    sale = those.watcher.sale(customer, 70)
    invoice = those.watcher.billed(customer, sale)

    those.first.delete(invoice, permanent=permanent)
    waiting = those.second_waits(lambda: those.second.delete(invoice, permanent=permanent))
    those.first.connection.commit()

    with refused(reason):
        waiting.result(timeout=10)
    assert those.watcher.says(sale) == "Pending"
    assert those.watcher.broken() == []


def test_one_key_at_once_deletes_once(those: Race[Billing]) -> None:
    invoice = those.watcher.billed(those.watcher.customer())
    those.first.with_key("same")
    those.first.connection.commit()
    those.second.with_key("same")

    answer = those.first.delete(invoice)
    waiting = those.second_waits(lambda: those.second.delete(invoice))
    those.first.connection.commit()

    assert waiting.result(timeout=10) == answer
    assert those.watcher.trail(invoice) == ["created", "deleted"]


@pytest.mark.parametrize("permanent", [False, True])
def test_money_that_was_first_stays(those: Race[Billing], permanent: bool) -> None:  # noqa: FBT001 - pytest's parameter
    customer = those.watcher.customer()
    invoice, payment = those.watcher.billed(customer), those.watcher.payment(customer, 100)

    those.first.allocate(payment, {invoice: 100})
    waiting = those.second_waits(lambda: those.second.delete(invoice, permanent=permanent))
    those.first.connection.commit()

    with refused("invoice_holds_money"):
        waiting.result(timeout=10)
    assert those.watcher.broken() == []


@pytest.mark.parametrize(
    ("permanent", "reason"), [(False, "invoice_cancelled"), (True, "invoice_not_found")]
)
def test_money_that_comes_too_late_is_refused(
    those: Race[Billing],
    permanent: bool,  # noqa: FBT001 - pytest's parameter
    reason: str,
) -> None:
    customer = those.watcher.customer()
    invoice, payment = those.watcher.billed(customer), those.watcher.payment(customer, 100)

    those.first.delete(invoice, permanent=permanent)
    waiting = those.second_waits(lambda: those.second.allocate(payment, {invoice: 100}))
    those.first.connection.commit()

    with refused(reason):
        waiting.result(timeout=10)
    assert those.watcher.payment_totals(payment).applied == 0
    assert those.watcher.broken() == []


@pytest.mark.parametrize("permanent", [False, True])
def test_an_allocation_written_directly_too_late(those: Race[Billing], permanent: bool) -> None:  # noqa: FBT001 - pytest's parameter
    customer = those.watcher.customer()
    invoice, payment = those.watcher.billed(customer), those.watcher.payment(customer, 100)

    those.first.delete(invoice, permanent=permanent)
    waiting = those.second_waits(lambda: those.second.allocate_directly(payment, invoice, 100))
    those.first.connection.commit()

    if permanent:
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            waiting.result(timeout=10)
    else:
        with ruled_out("invoice_metadata_cancelled_holds_nothing"):
            waiting.result(timeout=10)
    assert those.watcher.broken() == []


@pytest.mark.parametrize("how", ["delete", "cancel"])
def test_a_line_that_was_first_is_freed_too(those: Race[Billing], how: str) -> None:
    customer = those.watcher.customer()
    sale = those.watcher.sale(customer, 70)
    invoice = those.watcher.billed(customer)

    those.first.line(invoice, sale=sale)
    waiting = those.second_waits(lambda: getattr(those.second, how)(invoice))
    those.first.connection.commit()

    waiting.result(timeout=10)
    assert (those.watcher.says(sale), those.watcher.bills(invoice)) == ("Pending", [False])
    assert those.watcher.broken() == []


def test_a_line_that_comes_too_late_bills_nothing(those: Race[Billing]) -> None:
    customer = those.watcher.customer()
    sale = those.watcher.sale(customer, 70)
    invoice = those.watcher.billed(customer)

    those.first.cancel(invoice)
    waiting = those.second_waits(lambda: those.second.line(invoice, sale=sale))
    those.first.connection.commit()

    waiting.result(timeout=10)
    assert (those.watcher.says(sale), those.watcher.bills(invoice)) == ("Pending", [False])
    assert those.watcher.broken() == []


def test_a_line_for_an_invoice_that_is_deleted(those: Race[Billing]) -> None:
    customer = those.watcher.customer()
    sale = those.watcher.sale(customer, 70)
    invoice = those.watcher.billed(customer)

    those.first.delete(invoice)
    waiting = those.second_waits(lambda: those.second.line(invoice, sale=sale))
    those.first.connection.commit()

    with ruled_out("invoice_line_items_deleted_fixed"):
        waiting.result(timeout=10)
    assert (those.watcher.says(sale), those.watcher.bills(invoice)) == ("Pending", [])
    assert those.watcher.broken() == []


def test_a_line_for_an_invoice_that_goes_for_good(those: Race[Billing]) -> None:
    invoice = those.watcher.billed(those.watcher.customer())
    those.first.delete(invoice, permanent=True)
    waiting = those.second_waits(lambda: those.second.line(invoice))
    those.first.connection.commit()
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        waiting.result(timeout=10)


def test_two_invoices_of_one_sale(those: Race[Billing]) -> None:
    customer = those.watcher.customer()
    sale = those.watcher.sale(customer, 70)
    one, two = (those.watcher.billed(customer, total=70) for _ in range(2))

    those.first.line(one, sale=sale)
    waiting = those.second_waits(lambda: those.second.line(two, sale=sale))
    those.first.connection.commit()

    with pytest.raises(psycopg.errors.UniqueViolation):
        waiting.result(timeout=10)
    assert those.watcher.broken() == []


@pytest.mark.parametrize("commits", [True, False])
def test_recovering_what_is_being_billed_elsewhere(those: Race[Billing], commits: bool) -> None:  # noqa: FBT001 - pytest's parameter
    customer = those.watcher.customer()
    sale = those.watcher.sale(customer, 70)
    invoice, other = those.watcher.billed(customer, sale), those.watcher.billed(customer, total=70)
    those.watcher.delete(invoice)

    those.first.line(other, sale=sale)
    waiting = those.second_waits(lambda: those.second.recover(invoice))
    if commits:
        those.first.connection.commit()
        with pytest.raises(psycopg.errors.UniqueViolation):
            waiting.result(timeout=10)
    else:
        those.first.connection.rollback()
        waiting.result(timeout=10)
    assert those.watcher.mapped(sale) == {invoice: not commits} | ({other: True} if commits else {})
    assert those.watcher.broken() == []


def test_billing_what_is_being_recovered(those: Race[Billing]) -> None:
    customer = those.watcher.customer()
    sale = those.watcher.sale(customer, 70)
    invoice, other = those.watcher.billed(customer, sale), those.watcher.billed(customer)
    those.watcher.delete(invoice)

    those.first.recover(invoice)
    waiting = those.second_waits(lambda: those.second.line(other, sale=sale))
    those.first.connection.commit()

    with pytest.raises(psycopg.errors.UniqueViolation):
        waiting.result(timeout=10)
    assert those.watcher.broken() == []


def test_recovering_twice_and_deleting_what_is_being_recovered(those: Race[Billing]) -> None:
    invoice = those.watcher.billed(those.watcher.customer())
    those.watcher.delete(invoice)

    those.first.recover(invoice)
    waiting = those.second_waits(lambda: those.second.recover(invoice))
    those.first.connection.commit()
    with refused("invoice_not_deleted"):
        waiting.result(timeout=10)

    those.watcher.delete(invoice)
    those.first.recover(invoice)
    waiting = those.second_waits(lambda: those.second.delete(invoice))
    those.first.connection.commit()
    waiting.result(timeout=10)
    assert those.watcher.trail(invoice) == ["created", *["deleted", "recovered"] * 2, "deleted"]


@pytest.mark.parametrize("pays_first", [True, False])
def test_a_sale_is_paid_or_billed(those: Race[Billing], pays_first: bool) -> None:  # noqa: FBT001 - pytest's parameter
    customer = those.watcher.customer()
    sale = those.watcher.sale(customer, 70)
    invoice, payment = those.watcher.billed(customer, total=70), those.watcher.payment(customer, 70)

    if pays_first:
        those.first.pay_sales(payment, sale)
        waiting = those.second_waits(lambda: those.second.line(invoice, sale=sale))
    else:
        those.first.line(invoice, sale=sale)
        waiting = those.second_waits(lambda: those.second.pay_sales(payment, sale))
    those.first.connection.commit()

    with pytest.raises(psycopg.Error):
        waiting.result(timeout=10)
    assert those.watcher.says(sale) == ("Completed" if pays_first else "Billed")
    assert those.watcher.broken() == []


def test_a_payment_that_names_it_at_the_last_moment(those: Race[Billing]) -> None:
    customer = those.watcher.customer()
    invoice = those.watcher.billed(customer)
    payment = those.first.value(
        "insert into public.payments (customer_id, amount, payment_date, primary_invoice_id)"
        " values (%s, 10, '2025-09-10', %s) returning id",
        customer,
        invoice,
    )
    waiting = those.second_waits(lambda: those.second.delete(invoice, permanent=True))
    those.first.connection.commit()
    waiting.result(timeout=10)
    primary = "select primary_invoice_id from public.payments where id = %s"
    assert those.watcher.value(primary, payment) is None


def test_a_month_is_billed_again_while_its_invoice_is_deleted(dairy_hardened: Database) -> None:
    with racing(dairy_hardened, Billing) as those:
        customer = those.watcher.customer()
        delivery = those.watcher.delivery(customer)
        generate = (
            "select invoice_id from public.generate_invoice_atomic(%s, '2025-08-01', '2025-08-31')"
        )
        invoice = those.watcher.value(generate, customer)
        assert those.watcher.bills(invoice) == [True]

        those.first.delete(invoice)
        waiting = those.second_waits(lambda: those.second.value(generate, customer))
        those.first.connection.commit()

        other = waiting.result(timeout=10)
        with refused("period_taken"):
            those.watcher.recover(invoice)
        assert those.watcher.rows(
            "select invoice_id from public.invoice_line_items where delivery_id = %s and bills",
            delivery,
        ) == [(other,)]
        assert those.watcher.broken() == []
