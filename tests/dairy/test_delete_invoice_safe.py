"""delete_invoice_safe, and the app's own delete: what an invoice billed is free, nothing else."""

from uuid import UUID, uuid4

import psycopg
import pytest

from dairy.billing import Billing
from dairy.books import refused


def test_what_it_billed_is_free_and_it_can_be_recovered(billing: Billing) -> None:
    customer = billing.customer()
    sale, delivery = billing.sale(customer, 70), billing.delivery(customer)
    invoice = billing.billed(customer, sale, total=120)
    billing.line(invoice, delivery=delivery)
    assert billing.says(sale) == "Billed"
    assert billing.mapped(sale) == {invoice: True}

    answer = billing.delete(invoice)

    assert answer == {
        "success": True,
        "invoice_id": invoice,
        "invoice_number": None,
        "permanent": False,
        "reverted_sales_count": 1,
        "line_items_count": 2,
    }
    assert billing.rows(
        "select invoice_status, deleted_at is not null, deleted_by, status_before_deletion"
        " from public.invoice_metadata where id = %s",
        invoice,
    ) == [("cancelled", True, "postgres", "sent")]
    assert billing.says(sale) == "Pending"
    assert billing.mapped(sale) == {invoice: False}
    assert billing.bills(invoice) == [False, False]
    other = billing.billed(customer, sale, total=120)
    billing.line(other, delivery=delivery)
    assert billing.mapped(sale) == {invoice: False, other: True}
    assert billing.broken() == []


def test_for_good_leaves_nothing_but_the_trail(billing: Billing) -> None:
    customer = billing.customer()
    sale = billing.sale(customer, 70)
    invoice = billing.billed(customer, sale)
    payment = billing.payment(customer, 10)
    billing.run(
        "update public.payments set primary_invoice_id = %s where id = %s", invoice, payment
    )
    line = billing.value(
        "select to_jsonb(l) from public.invoice_line_items as l where invoice_id = %s", invoice
    )
    whole = billing.value(
        "select to_jsonb(i) from public.invoice_metadata as i where id = %s", invoice
    )

    answer = billing.delete(invoice, permanent=True)

    assert (answer["permanent"], answer["reverted_sales_count"]) == (True, 1)
    assert billing.says(sale) == "Pending"
    assert billing.rows("select 1 from public.invoice_metadata where id = %s", invoice) == []
    assert billing.bills(invoice) == []
    kept = billing.rows(
        "select was from public.audit_trail where entity_id = %s"
        " and action in ('lines_removed', 'removed') order by id",
        invoice,
    )
    assert kept == [({"lines": [line]},), (whole,)]
    primary = "select primary_invoice_id from public.payments where id = %s"
    assert billing.value(primary, payment) is None
    assert billing.mapped(sale) == {invoice: False}
    assert billing.broken() == []


def test_a_deleted_one_can_still_be_deleted_for_good(billing: Billing) -> None:
    customer = billing.customer()
    sale = billing.sale(customer, 70)
    invoice = billing.billed(customer, sale)
    billing.delete(invoice)
    other = billing.billed(customer, sale)
    answer = billing.delete(invoice, permanent=True)
    assert (answer["reverted_sales_count"], answer["line_items_count"]) == (0, 1)
    assert billing.says(sale) == "Billed"
    assert billing.mapped(sale) == {invoice: False, other: True}
    assert billing.broken() == []


@pytest.mark.parametrize("permanent", [False, True])
def test_money_on_it_is_in_the_way(billing: Billing, permanent: bool) -> None:  # noqa: FBT001 - pytest's parameter
    customer = billing.customer()
    sale = billing.sale(customer, 70)
    invoice = billing.billed(customer, sale)
    payment = billing.payment(customer, 800)
    billing.allocate(payment, {invoice: 70})
    assert billing.says(sale) == "Completed"

    with refused("invoice_holds_money", status=409) as facts:
        billing.delete(invoice, permanent=permanent)
    assert facts == {"invoice_id": str(invoice), "amount_paid": 70}
    with refused("invoice_holds_money", status=409):
        billing.delete_as_the_app(invoice)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        billing.run("delete from public.invoice_metadata where id = %s", invoice)

    assert billing.says(sale) == "Completed"
    billing.run("delete from public.invoice_payments where payment_id = %s", payment)
    assert billing.says(sale) == "Billed"
    billing.delete(invoice, permanent=permanent)
    assert billing.says(sale) == "Pending"


def test_twice_unknown_and_nothing(billing: Billing) -> None:
    invoice = billing.billed(billing.customer())
    billing.delete(invoice)
    with refused("invoice_deleted", status=409):
        billing.delete(invoice)
    with refused("invoice_not_found", status=404):
        billing.delete(uuid4())
    with refused("invoice_required", status=400):
        billing.delete(None)
    billing.delete(invoice, permanent=True)
    with refused("invoice_not_found", status=404):
        billing.delete(invoice, permanent=True)


def test_a_null_flag_is_no_flag(billing: Billing) -> None:
    invoice = billing.billed(billing.customer())
    assert billing.delete(invoice, permanent=None)["permanent"] is False


@pytest.mark.parametrize("status", ["draft", "cancelled"])
def test_drafts_and_cancelled_ones_too(billing: Billing, status: str) -> None:
    customer = billing.customer()
    sale = billing.sale(customer, 70)
    invoice = billing.billed(customer, sale)
    billing.set_status(invoice, status)
    billing.delete(invoice)
    assert billing.says(sale) == "Pending"
    assert billing.recover(invoice)["invoice_status"] == status
    assert billing.says(sale) == ("Billed" if status == "draft" else "Pending")
    assert billing.broken() == []


def test_a_deleted_invoice_takes_no_money(billing: Billing) -> None:
    customer = billing.customer()
    invoice, payment = billing.billed(customer), billing.payment(customer, 100)
    billing.delete(invoice)
    with refused("invoice_cancelled", status=409):
        billing.allocate(payment, {invoice: 100})
    with pytest.raises(psycopg.errors.CheckViolation):
        billing.allocate_directly(payment, invoice, 100)


class TestTheAppsOwn:
    """delete_invoice_and_revert_sales: for good, and only its own sales."""

    def test_deleting_an_invoice_reverts_no_sale_of_another(self, billing: Billing) -> None:
        """It used to revert all of the customer's sales by the invoice's dates."""
        customer = billing.customer()
        mine, others, paid, loose = (billing.sale(customer, 70) for _ in range(4))
        invoice, other = billing.billed(customer, mine), billing.billed(customer, others)
        billing.pay_sales(billing.payment(customer, 70), paid)
        billing.run("update public.sales set payment_status = 'Completed' where id = %s", loose)
        billing.run(
            "update public.sales set sale_date = i.period_start from public.invoice_metadata as i"
            " where i.id = %s and sales.customer_id = i.customer_id",
            invoice,
        )

        answer = billing.delete_as_the_app(invoice)

        assert answer == {
            "success": True,
            "invoice_number": None,
            "reverted_sales_count": 1,
            "deleted_line_items_count": 1,
        }
        said = [billing.says(each) for each in (mine, others, paid, loose)]
        assert said == ["Pending", "Billed", "Completed", "Completed"]
        assert billing.bills(other) == [True]
        assert billing.rows("select 1 from public.invoice_metadata where id = %s", invoice) == []
        assert billing.broken() == []

    def test_an_unknown_invoice_is_answered_as_it_always_was(self, billing: Billing) -> None:
        answer = {"success": False, "error": "Invoice not found"}
        assert billing.delete_as_the_app(uuid4()) == answer
        assert billing.delete_as_the_app(None) == answer

    def test_a_key_gets_the_first_answer_again(self, billing: Billing) -> None:
        invoice = billing.billed(billing.customer())
        billing.with_key()
        first = billing.delete_as_the_app(invoice)
        assert billing.delete_as_the_app(invoice) == first
        assert first["success"] is True


class TestKeys:
    """Idempotency keys of delete and recover."""

    def test_the_same_call_gets_its_first_answer(self, billing: Billing) -> None:
        customer = billing.customer()
        invoice = billing.billed(customer, billing.sale(customer, 70))
        billing.with_key()
        first = billing.delete(invoice)
        assert billing.delete(invoice, permanent=None) == first
        billing.with_key()
        again = billing.recover(invoice)
        assert billing.recover(invoice) == again
        assert again["billed_sales_count"] == 1
        assert billing.trail(invoice) == ["created", "deleted", "recovered"]

    def test_other_arguments_are_another_request(self, billing: Billing) -> None:
        invoice = billing.billed(billing.customer())
        billing.with_key()
        billing.delete(invoice)
        with refused("idempotency_key_reused", status=409):
            billing.delete(invoice, permanent=True)

    def test_a_refused_call_leaves_no_key_and_no_setting(self, billing: Billing) -> None:
        invoice = billing.billed(billing.customer())
        key = billing.with_key()
        with refused("invoice_not_deleted"):
            billing.recover(invoice)
        outcome = billing.value("select outcome from public.request_outcome(%s)", key)
        assert outcome == "unknown"
        billing.delete(invoice)
        assert not billing.value("select current_setting('pymilk.call_id', true)")


@pytest.mark.parametrize("role", ["authenticated", "service_role"])
def test_staff_and_back_office_may(billing: Billing, role: str) -> None:
    """As the API's roles, which may write neither the mapping nor the trail."""
    owner = billing
    customer = owner.customer()
    sale = owner.sale(customer, 70)
    invoice = owner.billed(customer, sale)
    owner.setting("request.jwt.claims", f'{{"sub": "{UUID(int=7)}"}}')
    owner.run(f"set role {role}")
    owner.delete(invoice)
    owner.recover(invoice)
    owner.delete(invoice, permanent=True)
    owner.run("reset role")
    assert owner.says(sale) == "Pending"
    assert owner.rows(
        "select distinct recorded_by from public.audit_trail where entity_id = %s and call_id"
        " is not null",
        invoice,
    ) == [(str(UUID(int=7)),)]
