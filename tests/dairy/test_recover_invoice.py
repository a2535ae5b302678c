"""recover_invoice: back as it was, or refused where somebody took its place."""

from datetime import date
from uuid import uuid4

import pytest

from dairy.billing import Billing
from dairy.books import refused


def test_it_is_what_it_was_and_bills_again(billing: Billing) -> None:
    customer = billing.customer()
    sale, delivery = billing.sale(customer, 70), billing.delivery(customer)
    invoice = billing.billed(customer, sale, total=120)
    billing.line(invoice, delivery=delivery)
    billing.delete(invoice)

    answer = billing.recover(invoice)

    assert answer == {
        "success": True,
        "invoice_id": invoice,
        "invoice_number": None,
        "invoice_status": "sent",
        "billed_sales_count": 1,
        "line_items_count": 2,
    }
    assert billing.rows(
        "select deleted_at, deleted_by, status_before_deletion from public.invoice_metadata"
        " where id = %s",
        invoice,
    ) == [(None, None, None)]
    assert billing.says(sale) == "Billed"
    assert billing.mapped(sale) == {invoice: True}
    assert billing.bills(invoice) == [True, True]
    assert billing.broken() == []


def test_an_issued_one_comes_back_as_it_was_and_ages_when_it_is_looked_at(billing: Billing) -> None:
    customer = billing.customer()
    late, free = billing.invoice(customer, 100), billing.invoice(customer, 0)
    sale = billing.sale(customer, 70)
    billing.line(free, sale=sale)
    billing.make_up(free)
    for each in (late, free):
        billing.delete(each)
    billing.run(
        "update public.invoice_metadata set due_date = %s where id = %s", date(2025, 1, 1), late
    )
    assert billing.recover(late)["invoice_status"] == "sent"
    billing.run("select public.update_invoice_status(%s)", late)
    assert billing.invoice_totals(late) == (0, 100, "overdue")
    assert billing.recover(free)["invoice_status"] == "paid"
    assert billing.says(sale) == "Completed"
    assert billing.broken() == []


def test_what_is_not_deleted_or_not_there(billing: Billing) -> None:
    customer = billing.customer()
    live, cancelled = billing.billed(customer), billing.billed(customer)
    billing.cancel(cancelled)
    for invoice in (live, cancelled):
        with refused("invoice_not_deleted", status=409):
            billing.recover(invoice)
    with refused("invoice_not_found", status=404):
        billing.recover(uuid4())
    with refused("invoice_required", status=400):
        billing.recover(None)
    billing.delete(live)
    billing.recover(live)
    with refused("invoice_not_deleted"):
        billing.recover(live)


@pytest.mark.parametrize("what", ["sale", "delivery"])
def test_what_it_billed_was_billed_elsewhere(billing: Billing, what: str) -> None:
    customer = billing.customer()
    sale = billing.sale(customer, 70) if what == "sale" else None
    delivery = billing.delivery(customer) if what == "delivery" else None
    total = 70 if sale else 50
    invoice = billing.invoice(customer, total)
    billing.line(invoice, sale=sale, delivery=delivery)
    billing.delete(invoice)
    other = billing.invoice(customer, total)
    billing.line(other, sale=sale, delivery=delivery)

    with refused(f"{what}_taken", status=409) as facts:
        billing.recover(invoice)
    assert facts["taken_by"] == str(other)
    assert facts[f"{what}_id"] == str(sale or delivery)

    assert billing.bills(invoice) == [False]
    billing.delete(other)
    billing.recover(invoice)
    assert billing.bills(invoice) == [True]
    assert billing.broken() == []


def test_a_sale_that_was_paid_by_itself(billing: Billing) -> None:
    customer = billing.customer()
    sale = billing.sale(customer, 70)
    invoice = billing.billed(customer, sale)
    billing.delete(invoice)
    billing.pay_sales(billing.payment(customer, 70), sale)
    with refused("sale_taken", status=409) as facts:
        billing.recover(invoice)
    assert facts == {"invoice_id": str(invoice), "sale_id": str(sale), "taken_by": None}
    assert billing.says(sale) == "Completed"


def test_a_sale_that_was_settled_at_the_counter(billing: Billing) -> None:
    customer = billing.customer()
    sale = billing.sale(customer, 70)
    invoice = billing.billed(customer, sale)
    billing.delete(invoice)
    billing.run("update public.sales set payment_status = 'Completed' where id = %s", sale)
    with refused("sale_taken", status=409) as facts:
        billing.recover(invoice)
    assert facts == {"invoice_id": str(invoice), "sale_id": str(sale), "taken_by": None}
    assert billing.says(sale) == "Completed"
    billing.run("update public.sales set payment_status = 'Pending' where id = %s", sale)
    billing.recover(invoice)
    assert billing.says(sale) == "Billed"


def test_a_sale_that_went_to_another_customer(billing: Billing) -> None:
    customer = billing.customer()
    sale = billing.sale(customer, 70)
    invoice = billing.billed(customer, sale)
    billing.delete(invoice)
    billing.run("update public.sales set customer_id = %s where id = %s", billing.customer(), sale)
    with refused("sale_taken", status=409):
        billing.recover(invoice)


def test_its_days_were_invoiced_again(billing: Billing) -> None:
    customer = billing.customer()
    invoice, other = billing.invoice(customer, 100), billing.invoice(customer, 100)
    billing.delete(invoice)
    billing.run(
        "update public.invoice_metadata as other set period_start = gone.period_end - 3,"
        " period_end = gone.period_end from public.invoice_metadata as gone"
        " where other.id = %s and gone.id = %s",
        other,
        invoice,
    )
    with refused("period_taken", status=409) as facts:
        billing.recover(invoice)
    assert facts["taken_by"] == str(other)
    billing.cancel(other)
    billing.recover(invoice)
    assert billing.broken() == []


def test_days_of_another_customer_are_no_obstacle(billing: Billing) -> None:
    invoice, other = (billing.invoice(billing.customer(), 100) for _ in range(2))
    billing.delete(invoice)
    billing.run(
        "update public.invoice_metadata as other set period_start = gone.period_start,"
        " period_end = gone.period_end from public.invoice_metadata as gone"
        " where other.id = %s and gone.id = %s",
        other,
        invoice,
    )
    billing.recover(invoice)


def test_a_refusal_changes_nothing(billing: Billing) -> None:
    customer = billing.customer()
    sale, taken = billing.sale(customer, 70), billing.sale(customer, 30)
    invoice = billing.billed(customer, sale, taken)
    billing.delete(invoice)
    billing.billed(customer, taken)
    with refused("sale_taken"):
        billing.recover(invoice)
    assert billing.says(sale) == "Pending"
    assert billing.invoice_totals(invoice).status == "cancelled"
    assert billing.trail(invoice) == ["created", "deleted"]
    assert billing.broken() == []
