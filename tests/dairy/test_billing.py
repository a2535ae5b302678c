"""What lines bill, under direct writes: by one live invoice at most, whoever writes."""

from uuid import UUID

import psycopg
import pytest

from dairy.billing import Billing
from dairy.books import ruled_out

SALE_ONCE = "invoice_line_items_sale_billed_once"
DELIVERY_ONCE = "invoice_line_items_delivery_billed_once"


def taken(rule: str) -> "pytest.RaisesExc[psycopg.errors.UniqueViolation]":
    """Expect the unique index to refuse."""
    return pytest.raises(psycopg.errors.UniqueViolation, match=rule)


class TestLines:
    """Lines inserted, updated and deleted directly."""

    def test_a_sale_or_a_delivery_is_billed_once(self, billing: Billing) -> None:
        customer = billing.customer()
        sale, delivery = billing.sale(customer, 70), billing.delivery(customer)
        one, two = billing.billed(customer, sale, total=120), billing.billed(customer)
        billing.line(one, delivery=delivery)
        for bills in (True, False):  # what the caller says of it is not believed
            with taken(SALE_ONCE):
                billing.line(two, sale=sale, bills=bills)
            with taken(DELIVERY_ONCE):
                billing.line(two, delivery=delivery, bills=bills)
        with taken(SALE_ONCE):
            billing.line(one, sale=sale)
        assert billing.broken() == []

    def test_a_line_that_goes_sets_its_sale_free(self, billing: Billing) -> None:
        customer = billing.customer()
        sale, other = billing.sale(customer, 70), billing.sale(customer, 30)
        invoice = billing.billed(customer, sale, other)
        billing.set_status(invoice, "draft")
        billing.run("delete from public.invoice_line_items where sale_id = %s", sale)
        assert (billing.says(sale), billing.says(other)) == ("Pending", "Billed")
        assert billing.mapped(sale) == {invoice: False}
        assert billing.broken() == []

    def test_the_app_deletes_a_clean_invoice_with_its_lines(self, billing: Billing) -> None:
        customer = billing.customer()
        sale = billing.sale(customer, 70)
        invoice = billing.billed(customer, sale)
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            billing.run("delete from public.invoice_metadata where id = %s", invoice)
        billing.run("delete from public.invoice_line_items where invoice_id = %s", invoice)
        billing.run("delete from public.invoice_metadata where id = %s", invoice)
        assert billing.says(sale) == "Pending"
        # without its lines it was a draft for a moment
        assert sorted(billing.trail(invoice)) == ["created", "edited", "lines_removed", "removed"]
        assert billing.broken() == []

    def test_a_line_keeps_what_it_bills_and_its_invoice(self, billing: Billing) -> None:
        """It would set it free, and charge it all the same."""
        customer = billing.customer()
        sale, delivery = billing.sale(customer, 70), billing.delivery(customer)
        one, two = billing.billed(customer, sale, total=120), billing.billed(customer)
        billing.line(one, delivery=delivery)
        for status in ("sent", "draft"):
            billing.set_status(one, status)
            for column, became in (
                ("sale_id", billing.sale(customer, 70)),
                ("sale_id", None),
                ("delivery_id", billing.delivery(customer)),
                ("delivery_id", None),
                ("invoice_id", two),
                ("invoice_id", None),
            ):
                with ruled_out("invoice_line_items_billing_fixed"):
                    billing.run(
                        f"update public.invoice_line_items set {column} = %s"
                        " where (sale_id = %s) is not true or %s = 'sale_id'",
                        became,
                        None if column == "sale_id" else sale,
                        column,
                    )
        assert billing.mapped(sale) == {one: True}

    @pytest.mark.parametrize("deleted", [False, True])
    def test_nor_does_a_line_of_a_cancelled_invoice_let_go(
        self,
        billing: Billing,
        deleted: bool,  # noqa: FBT001 - pytest's parameter
    ) -> None:
        """The invoice would come back and charge what somebody else bills by then."""
        customer = billing.customer()
        sale, delivery = billing.sale(customer, 70), billing.delivery(customer)
        invoice, other = billing.billed(customer, sale, total=120), billing.billed(customer)
        billing.line(invoice, delivery=delivery)
        if deleted:
            billing.delete(invoice)
        else:
            billing.cancel(invoice)
        for change in (
            "invoice_id = null",
            f"invoice_id = '{other}'",
            "sale_id = null",
            f"sale_id = '{billing.sale(customer, 70)}'",
            "delivery_id = null",
        ):
            with ruled_out("invoice_line_items_billing_fixed"):
                billing.run(f"update public.invoice_line_items set {change}")
        if deleted:
            billing.recover(invoice)
        else:
            billing.set_status(invoice, "sent")
        assert (billing.says(sale), billing.bills(invoice)) == ("Billed", [True, True])
        assert billing.broken() == []

    def test_a_line_of_no_invoice_may_become_another(self, billing: Billing) -> None:
        customer = billing.customer()
        sale, other = billing.sale(customer, 70), billing.sale(customer, 30)
        invoice = billing.billed(customer, total=30)
        billing.line(None, sale=sale)
        billing.run(
            "update public.invoice_line_items set invoice_id = %s, sale_id = %s, line_total = 30",
            invoice,
            other,
        )
        assert (billing.says(sale), billing.says(other)) == ("Pending", "Billed")
        assert billing.mapped(other) == {invoice: True}
        assert billing.broken() == []

    def test_other_columns_of_a_line_move_nothing(self, billing: Billing) -> None:
        customer = billing.customer()
        sale = billing.sale(customer, 70)
        invoice = billing.billed(customer, sale)
        billing.run(
            "update public.invoice_line_items set quantity = 2, product_name = 'Curd',"
            " bills = false where invoice_id = %s",
            invoice,
        )
        assert (billing.says(sale), billing.bills(invoice)) == ("Billed", [True])

    def test_a_line_of_a_cancelled_invoice_bills_nothing(self, billing: Billing) -> None:
        customer = billing.customer()
        sale = billing.sale(customer, 70)
        invoice = billing.billed(customer)
        billing.cancel(invoice)
        billing.line(invoice, sale=sale)
        billing.run("update public.invoice_line_items set bills = true")
        assert (billing.says(sale), billing.bills(invoice)) == ("Pending", [False])
        assert billing.mapped(sale) == {}
        billing.billed(customer, sale)
        assert billing.broken() == []

    def test_a_line_of_no_invoice_bills_nothing(self, billing: Billing) -> None:
        customer = billing.customer()
        sale = billing.sale(customer, 70)
        billing.line(None, sale=sale)
        assert billing.says(sale) == "Pending"
        invoice = billing.billed(customer)
        billing.run("update public.invoice_line_items set invoice_id = %s", invoice)
        assert (billing.says(sale), billing.bills(invoice)) == ("Billed", [True])

    def test_a_null_is_no_word_either(self, billing: Billing) -> None:
        invoice = billing.billed(billing.customer())
        billing.run(
            "insert into public.invoice_line_items (invoice_id, bills) values (%s, null)", invoice
        )
        billing.run("update public.invoice_line_items set bills = null")
        assert billing.bills(invoice) == [True]

    def test_only_credit_sales_of_its_customer(self, billing: Billing) -> None:
        customer = billing.customer()
        invoice = billing.billed(customer)
        for strange in (
            billing.sale(billing.customer(), 70),
            billing.sale(None, 70, kind="Cash"),
            billing.sale(None, 70, kind="QR"),
        ):
            with ruled_out("invoice_line_items_sale_of_customer"):
                billing.line(invoice, sale=strange)
        paid = billing.sale(customer, 70)
        billing.pay_sales(billing.payment(customer, 70), paid)
        with ruled_out("invoice_line_items_sale_unpaid"):
            billing.line(invoice, sale=paid)
        assert billing.bills(invoice) == []

    def test_a_sale_that_was_settled_at_the_counter(self, billing: Billing) -> None:
        """Its customer has paid; on an invoice it would be owed once more."""
        customer = billing.customer()
        sale = billing.sale(customer, 70)
        say = "update public.sales set payment_status = %s where id = %s"
        invoice = billing.billed(customer, sale)
        billing.cancel(invoice)
        billing.run(say, "Completed", sale)
        with ruled_out("invoice_line_items_sale_unpaid"):
            billing.set_status(invoice, "sent")
        other = billing.billed(customer, total=70)
        with ruled_out("invoice_line_items_sale_unpaid"):
            billing.line(other, sale=sale)
        line = billing.line(None, sale=sale)
        join = "update public.invoice_line_items set invoice_id = %s where id = %s"
        with ruled_out("invoice_line_items_sale_unpaid"):
            billing.run(join, other, line)
        assert (billing.says(sale), billing.mapped(sale)) == ("Completed", {invoice: False})
        billing.run(say, "Pending", sale)
        billing.run(join, other, line)
        assert billing.says(sale) == "Billed"
        assert billing.broken() == []

    def test_one_that_its_invoice_paid_stays_on_it(self, billing: Billing) -> None:
        customer = billing.customer()
        sale = billing.sale(customer, 70)
        invoice = billing.billed(customer, sale)
        billing.allocate(billing.payment(customer, 70), {invoice: 70})
        billing.run("update public.invoice_line_items set id = gen_random_uuid()")
        assert (billing.says(sale), billing.bills(invoice)) == ("Completed", [True])
        assert billing.broken() == []

    def test_many_at_once(self, billing: Billing) -> None:
        """Live, cancelled and no invoice in one statement."""
        customer = billing.customer()
        sales = [billing.sale(customer, 10) for _ in range(6)]
        live, dead = billing.billed(customer, total=20), billing.billed(customer)
        billing.cancel(dead)
        billing.run(
            "insert into public.invoice_line_items (invoice_id, sale_id, line_total)"
            " select case number when 1 then %s when 2 then %s end, sale_id, 10"
            " from unnest(%s::uuid[]) with ordinality as s (sale_id, place)"
            " cross join lateral (select place %% 3 as number) as n",
            live,
            dead,
            sales,
        )
        assert [billing.says(each) for each in sales] == ["Billed", "Pending", "Pending"] * 2
        assert billing.broken() == []
        billing.run("delete from public.invoice_line_items")
        assert {billing.says(each) for each in sales} == {"Pending"}

    def test_they_cannot_be_truncated(self, billing: Billing) -> None:
        with ruled_out("invoice_line_items_bill"):
            billing.run("truncate public.invoice_line_items")


class TestInvoices:
    """Invoices cancelled, reinstated and said to be deleted, directly."""

    def test_cancelling_sets_free_as_deleting_does(self, billing: Billing) -> None:
        customer = billing.customer()
        sale, delivery = billing.sale(customer, 70), billing.delivery(customer)
        invoice = billing.billed(customer, sale, total=120)
        billing.line(invoice, delivery=delivery)
        billing.cancel(invoice)
        assert (billing.says(sale), billing.bills(invoice)) == ("Pending", [False, False])
        other = billing.billed(customer, sale, total=120)
        billing.line(other, delivery=delivery)
        with taken("billed_once"):
            billing.set_status(invoice, "sent")
        billing.delete(other)
        billing.set_status(invoice, "sent")
        assert (billing.says(sale), billing.bills(invoice)) == ("Billed", [True, True])
        assert billing.trail(invoice) == ["created", "cancelled", "reinstated"]
        assert billing.broken() == []

    def test_one_whose_sale_was_paid_meanwhile_stays_cancelled(self, billing: Billing) -> None:
        customer = billing.customer()
        sale = billing.sale(customer, 70)
        invoice = billing.billed(customer, sale)
        billing.cancel(invoice)
        billing.pay_sales(billing.payment(customer, 70), sale)
        with ruled_out("invoice_line_items_sale_unpaid"):
            billing.set_status(invoice, "sent")
        assert billing.says(sale) == "Completed"

    def test_several_in_one_statement(self, billing: Billing) -> None:
        customer = billing.customer()
        sales = [billing.sale(customer, 10) for _ in range(4)]
        invoices = [billing.billed(customer, sale) for sale in sales]
        billing.run(
            "update public.invoice_metadata set invoice_status = 'cancelled' where id = any(%s)",
            invoices,
        )
        assert {billing.says(sale) for sale in sales} == {"Pending"}
        billing.run(
            "update public.invoice_metadata set invoice_status ="
            " case when id = %s then 'cancelled' else 'sent' end where id = any(%s)",
            invoices[0],
            invoices,
        )
        assert [billing.says(sale) for sale in sales] == ["Pending", *["Billed"] * 3]
        assert billing.broken() == []

    def test_what_is_said_of_deletion_is_not_believed(self, billing: Billing) -> None:
        invoice, other = (billing.billed(billing.customer()) for _ in range(2))
        billing.delete(invoice)
        before = deletion(billing, invoice)
        billing.run(
            "update public.invoice_metadata set deleted_at = null, deleted_by = 'nobody',"
            " status_before_deletion = 'paid' where id = %s",
            invoice,
        )
        assert deletion(billing, invoice) == before
        billing.run(
            "update public.invoice_metadata set deleted_at = now(), deleted_by = 'me'"
            " where id = %s",
            other,
        )
        assert deletion(billing, other) == (None, None, None)
        born = billing.value(
            "insert into public.invoice_metadata (customer_id, invoice_date, period_start,"
            " period_end, total_amount, invoice_status, deleted_at, deleted_by)"
            " values (%s, '2025-09-01', '2031-08-01', '2031-08-31', 1, 'sent', now(), 'me')"
            " returning id",
            billing.customer(),
        )
        assert deletion(billing, born) == (None, None, None)

    def test_nor_when_the_app_dates_the_invoice_back(self, billing: Billing) -> None:
        """What says it was made earlier comes from a restore, and that is the owner's."""
        customer = billing.customer()
        insert = (
            "insert into public.invoice_metadata (customer_id, invoice_date, period_start,"
            " period_end, total_amount, invoice_status, created_at, deleted_at, deleted_by,"
            " status_before_deletion) values (%s, '2025-09-01', '2031-08-01', '2031-08-31', 1,"
            " 'cancelled', '2025-09-01', '2025-09-02', 'somebody else', 'sent') returning id"
        )
        billing.run("set role authenticated")
        born = billing.value(insert, customer)
        billing.run("reset role")
        assert deletion(billing, born) == (None, None, None)
        restored = billing.value(insert, customer)
        assert deletion(billing, restored)[1:] == ("somebody else", "sent")

    def test_a_deleted_one_comes_back_by_recovery_alone(self, billing: Billing) -> None:
        invoice = billing.billed(billing.customer())
        billing.delete(invoice)
        for status in ("sent", "draft"):
            with ruled_out("invoice_metadata_deleted_is_cancelled"):
                billing.set_status(invoice, status)
        with ruled_out("invoice_metadata_deleted_is_cancelled"):
            billing.run(
                "update public.invoice_metadata set deleted_at = null, invoice_status = 'sent'"
                " where id = %s",
                invoice,
            )
        billing.run(
            "update public.invoice_metadata set file_path = 'x', invoice_status = 'paid'"
            " where id = %s",
            invoice,
        )
        assert billing.invoice_totals(invoice).status == "cancelled"

    def test_one_that_bills_keeps_its_customer(self, billing: Billing) -> None:
        customer, other = billing.customer(), billing.customer()
        sale = billing.sale(customer, 70)
        invoice, empty = billing.billed(customer, sale), billing.billed(customer, total=50)
        move = "update public.invoice_metadata set customer_id = %s where id = %s"
        billing.line(empty)
        billing.run(move, other, empty)
        with ruled_out("invoice_metadata_billing_customer_fixed"):
            billing.run(move, other, invoice)
        billing.cancel(invoice)
        billing.run(move, other, invoice)
        with ruled_out("invoice_line_items_sale_of_customer"):
            billing.set_status(invoice, "sent")
        assert billing.broken() == []


class TestSales:
    """What is said of a sale that is billed."""

    def test_its_status_follows_from_its_invoice(self, billing: Billing) -> None:
        customer = billing.customer()
        sale = billing.sale(customer, 100)
        invoice, payment = billing.billed(customer, sale), billing.payment(customer, 100)
        say = "update public.sales set payment_status = %s where id = %s"
        billing.run(say, "Pending", sale)
        assert billing.says(sale) == "Billed"
        billing.allocate(payment, {invoice: 100})
        billing.run(say, "Pending", sale)
        assert billing.says(sale) == "Completed"
        billing.run("delete from public.invoice_payments where payment_id = %s", payment)
        billing.cancel(invoice)
        billing.run(say, "Completed", sale)
        assert billing.says(sale) == "Completed"
        assert billing.broken() == []

    def test_it_keeps_its_customer_and_its_type(self, billing: Billing) -> None:
        customer = billing.customer()
        sale = billing.sale(customer, 70)
        invoice = billing.billed(customer, sale)
        for change in ("customer_id = gen_random_uuid()", "sale_type = 'Cash', customer_id = null"):
            with ruled_out("sales_billed_fixed"):
                billing.run(f"update public.sales set {change} where id = %s", sale)
        billing.run("update public.sales set notes = 'x' where id = %s", sale)
        billing.cancel(invoice)
        billing.run(
            "update public.sales set customer_id = %s where id = %s", billing.customer(), sale
        )


def deletion(billing: Billing, invoice: UUID) -> tuple[object, ...]:
    """What the invoice says of its deletion."""
    (found,) = billing.rows(
        "select deleted_at, deleted_by, status_before_deletion from public.invoice_metadata"
        " where id = %s",
        invoice,
    )
    return found
