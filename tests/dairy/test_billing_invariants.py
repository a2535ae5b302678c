"""What gap 006 lists as broken: by the function and by the query outside, in the same words."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dairy.billing import Billing
from dairy.books import ASKED_OUTSIDE_ALONE, INVARIANTS, ruled_out
from support.databases import Database


@pytest.fixture
def owner(dairy_006: Database) -> Billing:
    return Billing(dairy_006.connect(autocommit=True))


@contextmanager
def unguarded(books: Billing, *tables: str) -> Iterator[None]:
    """Write past all triggers."""
    for table in tables:
        books.run(f"alter table public.{table} disable trigger user")
    yield
    for table in tables:
        books.run(f"alter table public.{table} enable trigger user")


def told(books: Billing, invariant: str) -> list[tuple[object, ...]]:
    """The rows of one invariant, the same from inside and from outside."""
    inside = sorted(row[1:] for row in books.broken() if row[0] == invariant)
    query = next(path for path in INVARIANTS if path.stem == invariant)
    assert sorted(books.connection.execute(query.read_bytes()).fetchall()) == inside
    assert {row[0] for row in books.broken()} == books.violations() - ASKED_OUTSIDE_ALONE
    return inside


def test_what_is_billed_twice(owner: Billing) -> None:
    customer = owner.customer()
    sale, delivery = owner.sale(customer, 70), owner.delivery(customer)
    invoice, other = owner.billed(customer, sale, total=120), owner.billed(customer)
    owner.line(invoice, delivery=delivery)
    with unguarded(owner, "invoice_line_items"):
        owner.line(other, sale=sale, bills=False)
        owner.line(other, delivery=delivery, bills=False)
    expected = ("one line of a live invoice", "2 lines of live invoices")
    assert told(owner, "billed_once") == [
        ("delivery", str(delivery), *expected),
        ("sale", str(sale), *expected),
    ]


def test_a_sale_of_somebody_else(owner: Billing) -> None:
    customer, stranger = owner.customer(), owner.customer()
    sale = owner.sale(customer, 70)
    owner.billed(customer, sale)
    with unguarded(owner, "sales"):
        owner.run("update public.sales set customer_id = %s where id = %s", stranger, sale)
    ((entity, _, expected, found),) = told(owner, "billed_sales_are_the_customers")
    assert (entity, expected, found) == (
        "invoice_line",
        f"a Credit sale of {customer}",
        f"Credit sale of {stranger}",
    )


@pytest.mark.parametrize("status", ["cancelled", "delivered"])
def test_a_delivery_that_was_not_made_or_is_of_somebody_else(owner: Billing, status: str) -> None:
    customer, stranger = owner.customer(), owner.customer()
    delivery, invoice = owner.delivery(customer), owner.billed(customer, total=50)
    owner.line(invoice, delivery=delivery)
    whose = customer if status == "cancelled" else stranger
    with unguarded(owner, "deliveries"):
        owner.run(
            "update public.deliveries set customer_id = %s, delivery_status = %s where id = %s",
            whose,
            status,
            delivery,
        )
    ((entity, _, expected, found),) = told(owner, "billed_deliveries_are_the_customers")
    assert (entity, expected, found) == (
        "invoice_line",
        f"a delivery made to {customer}",
        f"{status}, delivery to {whose}",
    )
    owner.cancel(invoice)
    assert told(owner, "billed_deliveries_are_the_customers") == []


def test_a_line_that_charges_something_else(owner: Billing) -> None:
    customer = owner.customer()
    sale, delivery = owner.sale(customer, 70), owner.delivery(customer)
    invoice = owner.billed(customer, sale, total=120)
    owner.line(invoice, delivery=delivery)
    with unguarded(owner, "sales", "deliveries"):
        owner.run("update public.sales set total_amount = 71 where id = %s", sale)
        owner.run("update public.deliveries set total_amount = 51 where id = %s", delivery)
    found = {row[2:] for row in told(owner, "billed_amounts_are_the_lines")}
    assert found == {("71", "70"), ("51", "50")}
    owner.cancel(invoice)
    assert told(owner, "billed_amounts_are_the_lines") == []


def test_a_line_that_charges_one_of_the_two_that_it_bills(owner: Billing) -> None:
    customer = owner.customer()
    sale, delivery = owner.sale(customer, 70), owner.delivery(customer)
    line = owner.line(owner.billed(customer, total=50), delivery=delivery)
    with unguarded(owner, "invoice_line_items"):
        owner.run("update public.invoice_line_items set sale_id = %s where id = %s", sale, line)
    inside = [row for row in owner.broken() if row[0] == "billed_amounts_are_the_lines"]
    assert inside == [("billed_amounts_are_the_lines", "invoice_line", str(line), "120", "50")]
    assert "billed_amounts_are_the_lines" in owner.violations()


def test_lines_that_do_not_come_to_the_total(owner: Billing) -> None:
    customer = owner.customer()
    invoice = owner.billed(customer, owner.sale(customer, 70), total=100)
    expected = [("invoice", str(invoice), "lines of 100", "lines of 70")]
    assert told(owner, "issued_invoices_add_up") == expected
    for status, listed in (("draft", []), ("sent", expected), ("cancelled", [])):
        with unguarded(owner, "invoice_metadata"):
            owner.set_status(invoice, status)
        assert told(owner, "issued_invoices_add_up") == listed


def test_a_line_without_an_amount_comes_to_nothing(owner: Billing) -> None:
    customer = owner.customer()
    invoice = owner.billed(customer, owner.sale(customer, 100), total=100)
    assert told(owner, "issued_invoices_add_up") == []
    with unguarded(owner, "invoice_line_items"):
        owner.run("update public.invoice_line_items set line_total = null")
    assert told(owner, "issued_invoices_add_up") == [
        ("invoice", str(invoice), "lines of 100", "lines of 0")
    ]


def test_a_deleted_invoice_that_lives(owner: Billing) -> None:
    invoice = owner.billed(owner.customer())
    owner.delete(invoice)
    with unguarded(owner, "invoice_metadata"):
        owner.set_status(invoice, "sent")
    assert told(owner, "deleted_invoices_are_cancelled") == [
        ("invoice", str(invoice), "cancelled", "sent")
    ]
    with unguarded(owner, "invoice_metadata"):
        owner.run("update public.invoice_metadata set invoice_status = null")
    assert told(owner, "deleted_invoices_are_cancelled") == [
        ("invoice", str(invoice), "cancelled", "null")
    ]


def test_lines_that_bill_what_they_should_not_or_do_not(owner: Billing) -> None:
    customer = owner.customer()
    live, dead = owner.billed(customer), owner.billed(customer)
    one, two = owner.line(live, sale=owner.sale(customer, 70)), owner.line(dead)
    owner.cancel(dead)
    with unguarded(owner, "invoice_line_items"):
        owner.run("update public.invoice_line_items set bills = not bills")
    assert set(told(owner, "lines_bill_while_live")) == {
        ("invoice_line", str(one), "bills", "bills nothing"),
        ("invoice_line", str(two), "bills nothing", "bills"),
    }


@pytest.mark.long
def test_a_mapping_that_says_something_else(owner: Billing) -> None:
    customer = owner.customer()
    sales = [owner.sale(customer, 70) for _ in range(2)]
    invoice = owner.billed(customer, *sales)
    owner.run("delete from public.invoice_sales_mapping where sale_id = %s", sales[0])
    owner.cancel(invoice)
    owner.run("update public.invoice_sales_mapping set released_at = null")
    assert told(owner, "mapping_agrees_with_lines") == [
        ("sale", str(sales[1]), "billed by nobody", f"billed by {invoice}")
    ]
    owner.run("delete from public.invoice_sales_mapping")
    owner.set_status(invoice, "sent")
    assert told(owner, "mapping_agrees_with_lines") == []
    owner.run("delete from public.invoice_sales_mapping")
    assert len(told(owner, "mapping_agrees_with_lines")) == 2


def test_a_restored_row_that_is_deleted_and_alive_is_refused(owner: Billing) -> None:
    with ruled_out("invoice_metadata_deleted_is_cancelled"):
        owner.run(
            "insert into public.invoice_metadata (customer_id, invoice_date, period_start,"
            " period_end, total_amount, invoice_status, deleted_at, created_at)"
            " values (%s, '2025-09-01', '2025-08-01', '2025-08-31', 1, 'sent', now(),"
            " '2025-09-01')",
            owner.customer(),
        )
