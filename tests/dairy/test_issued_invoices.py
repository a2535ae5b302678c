"""What an issued invoice bills stays what it billed, under direct writes and when it comes back.

Never may a sale be billed twice, nor money be owed that no line explains.
"""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from dairy.billing import Billing
from dairy.books import FROM_A_TRIGGER_OF_ONES_OWN, refused, ruled_out
from dairy.racing import Race, racing
from dairy.stages import alone_and_with_all
from support.databases import Database

WHOLE = "invoice_line_items_issued_whole"


@pytest.fixture(params=alone_and_with_all("dairy_006"))
def those(request: pytest.FixtureRequest) -> Iterator[Race[Billing]]:
    database: Database = request.getfixturevalue(request.param)
    with racing(database, Billing) as race:
        yield race


def total(billing: Billing, invoice: object, amount: object) -> None:
    """Say what an invoice comes to."""
    billing.run(
        "update public.invoice_metadata set total_amount = %s where id = %s", amount, invoice
    )


class TestDeliveries:
    """A line bills a delivery that was delivered, to the customer of its invoice."""

    def test_of_another_customer(self, billing: Billing) -> None:
        invoice = billing.billed(billing.customer(), total=50)
        with ruled_out("invoice_line_items_delivery_of_customer"):
            billing.line(invoice, delivery=billing.delivery(billing.customer()))
        assert billing.bills(invoice) == []

    @pytest.mark.parametrize("status", ["pending", "cancelled", None])
    def test_that_was_not_delivered(self, billing: Billing, status: str | None) -> None:
        customer = billing.customer()
        delivery, invoice = billing.delivery(customer), billing.billed(customer, total=50)
        say = "update public.deliveries set delivery_status = %s where id = %s"
        billing.run(say, status, delivery)
        with ruled_out("invoice_line_items_delivery_delivered"):
            billing.line(invoice, delivery=delivery)
        billing.run(say, "delivered", delivery)
        billing.line(invoice, delivery=delivery)
        assert billing.broken() == []

    def test_a_line_that_gets_one_later(self, billing: Billing) -> None:
        customer = billing.customer()
        invoice = billing.billed(customer, total=50)
        line = billing.line(invoice)
        name = "update public.invoice_line_items set delivery_id = %s where id = %s"
        with ruled_out("invoice_line_items_delivery_of_customer"):
            billing.run(name, billing.delivery(billing.customer()), line)
        billing.run(name, billing.delivery(customer), line)
        assert billing.broken() == []

    def test_one_moved_while_its_invoice_was_cancelled(self, billing: Billing) -> None:
        customer = billing.customer()
        delivery, invoice = billing.delivery(customer), billing.billed(customer, total=50)
        billing.line(invoice, delivery=delivery)
        billing.cancel(invoice)
        billing.run(
            "update public.deliveries set customer_id = %s where id = %s",
            billing.customer(),
            delivery,
        )
        with ruled_out("invoice_line_items_delivery_of_customer"):
            billing.set_status(invoice, "sent")

    def test_on_a_cancelled_invoice_it_is_nobodys_business(self, billing: Billing) -> None:
        invoice = billing.billed(billing.customer(), total=50)
        billing.cancel(invoice)
        billing.line(invoice, delivery=billing.delivery(billing.customer()))
        assert billing.broken() == []

    @pytest.mark.parametrize(
        "change",
        [
            "total_amount = 60",
            "delivery_status = 'cancelled'",
            "delivery_status = 'pending'",
            "delivery_status = null",
            "customer_id = (select min(id::text)::uuid from public.customers)",
        ],
    )
    def test_a_billed_one_is_fixed(self, billing: Billing, change: str) -> None:
        customer = billing.customer()
        delivery, invoice = billing.delivery(customer), billing.billed(customer, total=50)
        billing.line(invoice, delivery=delivery)
        edit = f"update public.deliveries set {change} where id = %s"
        with ruled_out("deliveries_billed_fixed"):
            billing.run(edit, delivery)
        billing.run("update public.deliveries set delivery_notes = 'x' where id = %s", delivery)
        billing.cancel(invoice)
        billing.run(edit, delivery)
        assert billing.broken() == []

    def test_a_change_waits_for_the_invoice_that_is_being_made(
        self, dairy_hardened: Database
    ) -> None:
        """Read by the call, not yet on a line that others see: it must not slip away."""
        with racing(dairy_hardened, Billing) as those:
            customer = those.watcher.customer()
            delivery = those.watcher.delivery(customer)
            those.first.run(
                "select public.generate_invoice_atomic(%s, '2025-08-01', '2025-08-31')", customer
            )
            waiting = those.second_waits(
                lambda: those.second.run(
                    "update public.deliveries set delivery_status = 'cancelled' where id = %s",
                    delivery,
                )
            )
            those.first.connection.commit()
            with ruled_out("deliveries_billed_fixed"):
                waiting.result(timeout=10)
            assert those.watcher.broken() == []

    def test_a_line_written_directly_waits_for_a_change(self, those: Race[Billing]) -> None:
        customer = those.watcher.customer()
        delivery, invoice = those.watcher.delivery(customer), those.watcher.billed(customer)
        those.first.run(
            "update public.deliveries set delivery_status = 'cancelled' where id = %s", delivery
        )
        waiting = those.second_waits(lambda: those.second.line(invoice, delivery=delivery))
        those.first.connection.commit()
        with ruled_out("invoice_line_items_delivery_delivered"):
            waiting.result(timeout=10)


def test_a_line_waits_for_the_counter_where_its_sale_is_settled(those: Race[Billing]) -> None:
    customer = those.watcher.customer()
    sale = those.watcher.sale(customer, 70)
    invoice = those.watcher.billed(customer, total=70)
    those.first.run("update public.sales set payment_status = 'Completed' where id = %s", sale)
    waiting = those.second_waits(lambda: those.second.line(invoice, sale=sale))
    those.first.connection.commit()
    with ruled_out("invoice_line_items_sale_unpaid"):
        waiting.result(timeout=10)
    assert those.watcher.says(sale) == "Completed"


class TestRecovery:
    """What a deleted invoice billed may have become something else."""

    @pytest.mark.parametrize(
        "change",
        ["delivery_status = 'cancelled'", "total_amount = 60", "customer_id = %(other)s"],
    )
    def test_a_delivery_that_changed(self, billing: Billing, change: str) -> None:
        customer = billing.customer()
        delivery, invoice = billing.delivery(customer), billing.billed(customer, total=50)
        billing.line(invoice, delivery=delivery)
        billing.delete(invoice)
        billing.connection.execute(
            f"update public.deliveries set {change} where id = %(id)s".encode(),
            {"id": delivery, "other": billing.customer()},
        )
        with refused("billed_changed", status=409) as facts:
            billing.recover(invoice)
        assert facts["delivery_id"] == str(delivery)
        assert billing.invoice_totals(invoice).status == "cancelled"
        assert billing.bills(invoice) == [False]

    def test_a_sale_with_another_total(self, billing: Billing) -> None:
        customer = billing.customer()
        sale = billing.sale(customer, 70)
        invoice = billing.billed(customer, sale)
        billing.delete(invoice)
        billing.run("update public.sales set total_amount = 80 where id = %s", sale)
        with refused("billed_changed", status=409) as facts:
            billing.recover(invoice)
        assert facts["sale_id"] == str(sale)
        assert billing.says(sale) == "Pending"

    def test_a_change_on_its_way(self, those: Race[Billing]) -> None:
        customer = those.watcher.customer()
        delivery, invoice = those.watcher.delivery(customer), those.watcher.billed(customer)
        those.watcher.line(invoice, delivery=delivery)
        those.watcher.delete(invoice)
        those.first.run(
            "update public.deliveries set delivery_status = 'cancelled' where id = %s", delivery
        )
        waiting = those.second_waits(lambda: those.second.recover(invoice))
        those.first.connection.commit()
        with refused("billed_changed"):
            waiting.result(timeout=10)

    def test_its_lines_and_its_total_wait_for_it(self, billing: Billing) -> None:
        customer = billing.customer()
        sale = billing.sale(customer, 70)
        invoice = billing.billed(customer, sale)
        billing.delete(invoice)
        for statement in (
            "delete from public.invoice_line_items where invoice_id = %s",
            "update public.invoice_line_items set line_total = 7 where invoice_id = %s",
        ):
            with ruled_out("invoice_line_items_deleted_fixed"):
                billing.run(statement, invoice)
        with ruled_out("invoice_metadata_deleted_total_fixed"):
            total(billing, invoice, 700)
        billing.recover(invoice)
        assert billing.says(sale) == "Billed"
        assert billing.broken() == []

    @pytest.mark.parametrize("lines", [0, 1])
    def test_it_gets_no_further_lines(self, billing: Billing, lines: int) -> None:
        """It would come back with them, and be owed as what they don't explain."""
        customer = billing.customer()
        more = billing.sale(customer, 40)
        invoice = billing.billed(
            customer, *(billing.sale(customer, 60) for _ in range(lines)), total=100
        )
        billing.delete(invoice)
        with ruled_out("invoice_line_items_deleted_fixed"):
            billing.line(invoice, sale=more)
        line = billing.line(None, sale=more)
        with ruled_out("invoice_line_items_deleted_fixed"):
            billing.run(
                "update public.invoice_line_items set invoice_id = %s where id = %s", invoice, line
            )
        billing.recover(invoice)
        assert billing.says(more) == "Pending"
        assert len(billing.bills(invoice)) == lines


class TestLines:
    """Lines of an issued invoice add up to its total, whatever is done to them."""

    def test_one_of_them_does_not_go(self, billing: Billing) -> None:
        customer = billing.customer()
        sale, other = billing.sale(customer, 70), billing.sale(customer, 30)
        invoice = billing.billed(customer, sale, other)
        with ruled_out(WHOLE):
            billing.run("delete from public.invoice_line_items where sale_id = %s", sale)
        with ruled_out(WHOLE):
            billing.run(
                "update public.invoice_line_items set line_total = 0 where sale_id = %s", sale
            )
        assert billing.says(sale) == "Billed"
        assert billing.invoice_totals(invoice).outstanding == 100
        assert billing.broken() == []

    @pytest.mark.parametrize("paid", [0, 70])
    def test_once_whole_it_takes_no_further_one(self, billing: Billing, paid: int) -> None:
        """What it bills would be paid with what others paid for."""
        customer = billing.customer()
        sale, more = billing.sale(customer, 70), billing.sale(customer, 30)
        invoice = billing.billed(customer, sale)
        if paid:
            billing.allocate(billing.payment(customer, paid), {invoice: paid})
        with ruled_out(WHOLE):
            billing.line(invoice, sale=more)
        assert billing.says(more) == "Pending"
        # What comes to nothing may come: a sale, and what is let off for it.
        billing.run(
            "insert into public.invoice_line_items (invoice_id, line_item_type, product_name,"
            " line_total)"
            " values (%s, 'manual_sale', 'Ghee', 30), (%s, 'adjustment', 'Let off', -30)",
            invoice,
            invoice,
        )
        assert billing.broken() == []

    def test_what_is_paid_is_not_paid_for_more(self, billing: Billing) -> None:
        customer = billing.customer()
        sale = billing.sale(customer, 30)
        invoice = billing.billed(customer, total=20)
        billing.allocate(billing.payment(customer, 20), {invoice: 20})
        with ruled_out(WHOLE):
            billing.line(invoice, sale=sale)
        assert billing.says(sale) == "Pending"

    @pytest.mark.parametrize("paid", [0, 70])
    def test_nor_one_that_joins_it_later(self, billing: Billing, paid: int) -> None:
        """Written without an invoice first: that the line is an old one says nothing."""
        customer = billing.customer()
        more = billing.sale(customer, 30)
        invoice = billing.billed(customer, billing.sale(customer, 70))
        if paid:
            billing.allocate(billing.payment(customer, paid), {invoice: paid})
        line = billing.line(None, sale=more)
        for change in ("invoice_id = %s", "invoice_id = %s, id = gen_random_uuid()"):
            with ruled_out(WHOLE):
                billing.run(
                    f"update public.invoice_line_items set {change} where id = %s", invoice, line
                )
        assert billing.says(more) == "Pending"
        assert billing.broken() == []

    def test_one_that_is_being_written_is_joined_by_one_after_the_other(
        self, billing: Billing
    ) -> None:
        customer = billing.customer()
        sales = [billing.sale(customer, 30) for _ in range(3)]
        invoice = billing.billed(customer, total=90)
        for sale in sales:
            line = billing.line(None, sale=sale)
            billing.run(
                "update public.invoice_line_items set invoice_id = %s where id = %s", invoice, line
            )
        assert {billing.says(sale) for sale in sales} == {"Billed"}
        assert billing.broken() == []

    @pytest.mark.parametrize("amount", ["69.99", "70.01", "0", "1"])
    def test_one_costs_what_it_bills_costs(self, billing: Billing, amount: str) -> None:
        customer = billing.customer()
        sale, delivery = billing.sale(customer, 70), billing.delivery(customer)
        invoice = billing.billed(customer, total=1000)
        for column, billed in (("sale_id", sale), ("delivery_id", delivery)):
            with ruled_out("invoice_line_items_total_as_billed"):
                billing.run(
                    f"insert into public.invoice_line_items (invoice_id, line_item_type, {column},"
                    " product_name, line_total) values (%s, 'manual_sale', %s, 'Ghee', %s)",
                    invoice,
                    billed,
                    amount,
                )
        billing.set_status(invoice, "draft")
        line = billing.line(invoice, sale=sale)
        with ruled_out("invoice_line_items_total_as_billed"):
            billing.run(
                "update public.invoice_line_items set line_total = %s where id = %s", amount, line
            )
        # Who names no amount says nothing else.
        billing.run("update public.invoice_line_items set line_total = null where id = %s", line)
        assert billing.says(sale) == "Billed"

    def test_one_that_bills_both_costs_both(self, billing: Billing) -> None:
        """The sale would be paid with the delivery otherwise, and the goods given away."""
        customer = billing.customer()
        sale, delivery = billing.sale(customer, 40), billing.delivery(customer)
        invoice = billing.billed(customer, total=50)
        with ruled_out("invoice_line_items_total_as_billed"):
            billing.run(
                "insert into public.invoice_line_items (invoice_id, line_item_type, sale_id,"
                " delivery_id, line_total) values (%s, 'subscription', %s, %s, 50)",
                invoice,
                sale,
                delivery,
            )
        line = billing.line(invoice, delivery=delivery)
        with ruled_out("invoice_line_items_total_as_billed"):
            billing.run(
                "update public.invoice_line_items set sale_id = %s where id = %s", sale, line
            )
        assert billing.says(sale) == "Pending"
        billing.set_status(invoice, "draft")
        billing.run(
            "update public.invoice_line_items set sale_id = %s, line_total = 90 where id = %s",
            sale,
            line,
        )
        total(billing, invoice, 90)
        billing.set_status(invoice, "sent")
        billing.delete(invoice)
        billing.recover(invoice)
        billing.allocate(billing.payment(customer, 90), {invoice: 90})
        assert billing.says(sale) == "Completed"
        assert billing.broken() == []

    def test_of_a_draft_with_money_on_it_they_stay(self, billing: Billing) -> None:
        customer = billing.customer()
        sale = billing.sale(customer, 70)
        invoice = billing.billed(customer, sale)
        billing.allocate(billing.payment(customer, 70), {invoice: 70})
        billing.set_status(invoice, "draft")
        with ruled_out("invoice_line_items_paid_fixed"):
            billing.run("delete from public.invoice_line_items where invoice_id = %s", invoice)
        assert billing.says(sale) != "Pending"

    def test_what_the_total_leaves_out_may_go(self, billing: Billing) -> None:
        customer = billing.customer()
        extra = billing.sale(customer, 30)
        billing.billed(customer, extra, billing.sale(customer, 70), total=70)
        assert [row[0] for row in billing.broken()] == ["issued_invoices_add_up"]
        billing.run("delete from public.invoice_line_items where sale_id = %s", extra)
        assert billing.says(extra) == "Pending"
        assert billing.broken() == []

    def test_without_the_last_one_it_is_a_draft_and_nobody_owes_it(self, billing: Billing) -> None:
        customer = billing.customer()
        sale = billing.sale(customer, 70)
        invoice = billing.billed(customer, sale)
        billing.run("delete from public.invoice_line_items where invoice_id = %s", invoice)
        assert billing.invoice_totals(invoice).status == "draft"
        assert billing.says(sale) == "Pending"
        other = billing.billed(customer, sale)
        assert billing.value("select public.calculate_customer_outstanding(%s)", customer) == 70
        with ruled_out("invoice_metadata_issued_whole"):
            billing.set_status(invoice, "sent")
        assert billing.says(sale) == "Billed"
        assert billing.mapped(sale) == {invoice: False, other: True}
        assert billing.broken() == []

    def test_with_money_on_it_they_stay(self, billing: Billing) -> None:
        customer = billing.customer()
        invoice = billing.billed(customer, billing.sale(customer, 70))
        billing.allocate(billing.payment(customer, 10), {invoice: 10})
        with ruled_out(WHOLE):
            billing.run("delete from public.invoice_line_items where invoice_id = %s", invoice)

    def test_a_draft_is_taken_apart_and_issued_again(self, billing: Billing) -> None:
        customer = billing.customer()
        sale, other = billing.sale(customer, 70), billing.sale(customer, 30)
        invoice = billing.billed(customer, sale, other)
        billing.set_status(invoice, "draft")
        billing.run("delete from public.invoice_line_items where sale_id = %s", other)
        with ruled_out("invoice_metadata_issued_whole"):
            billing.set_status(invoice, "sent")
        total(billing, invoice, 70)
        billing.set_status(invoice, "sent")
        assert (billing.says(sale), billing.says(other)) == ("Billed", "Pending")
        assert billing.broken() == []

    def test_a_cancelled_one_does_not_come_back_without_them(self, billing: Billing) -> None:
        customer = billing.customer()
        invoice = billing.billed(customer, billing.sale(customer, 70))
        billing.cancel(invoice)
        billing.run("delete from public.invoice_line_items where invoice_id = %s", invoice)
        with ruled_out("invoice_metadata_issued_whole"):
            billing.set_status(invoice, "sent")

    def test_lines_and_total_changed_at_once(self, those: Race[Billing]) -> None:
        """Each alone is refused or right; together they meet on the invoice."""
        customer = those.watcher.customer()
        invoice = those.watcher.billed(customer, total=70)
        extra = those.watcher.line(invoice)
        those.watcher.line(invoice, sale=those.watcher.sale(customer, 70))
        total(those.first, invoice, 120)
        waiting = those.second_waits(
            lambda: those.second.run("delete from public.invoice_line_items where id = %s", extra)
        )
        those.first.connection.commit()
        with ruled_out(WHOLE):
            waiting.result(timeout=10)
        assert those.watcher.broken() == []

    @pytest.mark.parametrize(
        ("attack", "rule"),
        [
            ("line_total = 0 where sale_id is not null", WHOLE),
            ("sale_id = '{stranger}' where sale_id is null", "invoice_line_items_sale_of_customer"),
            (
                "delivery_id = '{delivery}' where sale_id is null",
                "invoice_line_items_delivery_of_customer",
            ),
        ],
    )
    def test_in_a_trigger_of_its_own_a_role_may_no_more(
        self, dairy_hardened: Database, attack: str, rule: str
    ) -> None:
        books = Billing(dairy_hardened.connect(autocommit=True))
        customer, other = books.customer(), books.customer()
        books.line(books.billed(customer, books.sale(customer, 70), total=120))
        named = attack.format(stranger=books.sale(other, 50), delivery=books.delivery(other))
        somebody = dairy_hardened.connect(role="authenticated", autocommit=True)
        with ruled_out(rule):
            somebody.execute(
                FROM_A_TRIGGER_OF_ONES_OWN.format(
                    attack=f"update public.invoice_line_items set {named}"
                ).encode()
            )
        assert books.broken() == []

    def test_under_another_id_it_costs_what_it_bills_costs(self, billing: Billing) -> None:
        customer = billing.customer()
        invoice = billing.invoice(customer, 50, status="draft")
        line = billing.line(invoice, delivery=billing.delivery(customer))
        with ruled_out("invoice_line_items_total_as_billed"):
            billing.run(
                "update public.invoice_line_items set id = gen_random_uuid(), line_total = 1"
                " where id = %s",
                line,
            )
        assert billing.broken() == []

    def test_under_another_id_it_bills_what_its_customer_had(self, billing: Billing) -> None:
        customer, other = billing.customer(), billing.customer()
        pending = billing.delivery(customer)
        billing.run(
            "update public.deliveries set delivery_status = 'pending' where id = %s", pending
        )
        line = billing.line(billing.billed(customer, total=50))
        for delivery, rule in (
            (billing.delivery(other), "invoice_line_items_delivery_of_customer"),
            (pending, "invoice_line_items_delivery_delivered"),
        ):
            with ruled_out(rule):
                billing.run(
                    "update public.invoice_line_items set id = gen_random_uuid(), delivery_id = %s"
                    " where id = %s",
                    delivery,
                    line,
                )
        assert billing.broken() == []

    def test_a_line_with_another_id_is_the_same_line(self, billing: Billing) -> None:
        customer = billing.customer()
        sale = billing.sale(customer, 70)
        invoice = billing.billed(customer, sale)
        billing.run("update public.invoice_line_items set id = gen_random_uuid()")
        assert (billing.says(sale), billing.mapped(sale)) == ("Billed", {invoice: True})
        assert billing.broken() == []


class TestTotals:
    """The total of an issued invoice is what its lines add up to."""

    def test_it_follows_the_lines_alone(self, billing: Billing) -> None:
        customer = billing.customer()
        invoice = billing.billed(customer, billing.sale(customer, 70))
        for amount in (69, 71, 0):
            with ruled_out("invoice_metadata_issued_whole"):
                total(billing, invoice, amount)
        billing.set_status(invoice, "draft")
        billing.line(invoice)
        total(billing, invoice, 120)
        billing.set_status(invoice, "sent")
        assert billing.broken() == []

    def test_its_sales_are_paid_as_it_says(self, billing: Billing) -> None:
        """Nobody needs to name the status: it follows from the total."""
        customer = billing.customer()
        sale, other = billing.sale(customer, 40), billing.sale(customer, 70)
        invoice = billing.billed(customer, sale, total=0)
        assert billing.says(sale) == "Completed"
        total(billing, invoice, 40)
        assert (billing.invoice_totals(invoice).status, billing.says(sale)) == ("sent", "Billed")
        paid = billing.billed(customer, other, total=100)
        billing.allocate(billing.payment(customer, 70), {paid: 70})
        assert billing.says(other) == "Billed"
        total(billing, paid, 70)
        assert (billing.invoice_totals(paid).status, billing.says(other)) == ("paid", "Completed")
        assert billing.broken() == []

    def test_a_total_that_falls_with_a_line(self, billing: Billing) -> None:
        customer = billing.customer()
        sale, gone = billing.sale(customer, 40), billing.sale(customer, 60)
        invoice = billing.billed(customer, sale, gone)
        billing.allocate(billing.payment(customer, 40), {invoice: 40})
        billing.run(
            "with gone as (delete from public.invoice_line_items where sale_id = %s"
            " returning invoice_id)"
            " update public.invoice_metadata set total_amount = 40"
            " where id = (select invoice_id from gone)",
            gone,
        )
        assert (billing.says(sale), billing.says(gone)) == ("Completed", "Pending")
        assert billing.broken() == []

    def test_a_draft_is_no_way_around_it(self, billing: Billing) -> None:
        customer = billing.customer()
        invoice = billing.billed(customer, billing.sale(customer, 70))
        for word in ("draft", "cancelled"):
            billing.set_status(invoice, word)
            total(billing, invoice, 700)
            with ruled_out("invoice_metadata_issued_whole"):
                billing.set_status(invoice, "sent")
            total(billing, invoice, 70)
            billing.set_status(invoice, "sent")
        assert billing.broken() == []

    def test_nor_is_a_price_that_changed_while_it_was_cancelled(self, billing: Billing) -> None:
        customer = billing.customer()
        sale, delivery = billing.sale(customer, 70), billing.delivery(customer)
        invoice = billing.billed(customer, sale, total=120)
        billing.line(invoice, delivery=delivery)
        billing.cancel(invoice)
        for table, row, was in (("sales", sale, 70), ("deliveries", delivery, 50)):
            edit = f"update public.{table} set total_amount = %s where id = %s"
            billing.run(edit, 99, row)
            with ruled_out("invoice_line_items_total_as_billed"):
                billing.set_status(invoice, "sent")
            billing.run(edit, was, row)
        billing.set_status(invoice, "sent")
        assert billing.broken() == []

    def test_an_invoice_without_lines_may_say_any(self, billing: Billing) -> None:
        invoice = billing.invoice(billing.customer(), 100)
        total(billing, invoice, 90)
        billing.set_status(invoice, "draft")
        billing.set_status(invoice, "sent")
        assert billing.invoice_totals(invoice).outstanding == 90

    def test_a_draft_whose_lines_do_not_add_up_is_not_issued(self, billing: Billing) -> None:
        customer = billing.customer()
        invoice = billing.invoice(customer, 100, status="draft")
        billing.line(invoice, sale=billing.sale(customer, 70))
        with ruled_out("invoice_metadata_issued_whole"):
            billing.set_status(invoice, "sent")
        with ruled_out("invoice_metadata_issued_whole"):
            billing.run(
                "update public.invoice_metadata set invoice_status = 'sent', total_amount = 90"
                " where id = %s",
                invoice,
            )
        total(billing, invoice, 70)
        billing.set_status(invoice, "sent")
        assert billing.broken() == []

    def test_one_that_is_inserted_as_issued_is_listed_until_it_is_whole(
        self, billing: Billing
    ) -> None:
        """The app may be in the middle of writing it: what is written is listed, not refused."""
        customer = billing.customer()
        invoice = billing.invoice(customer, 100)
        billing.line(invoice, sale=billing.sale(customer, 70))
        assert billing.broken() == [
            ("issued_invoices_add_up", "invoice", str(invoice), "lines of 100", "lines of 70")
        ]
        billing.run("update public.invoice_metadata set file_path = 'x.pdf' where id = %s", invoice)
        total(billing, invoice, 70)
        assert billing.broken() == []


def test_a_billed_sale_keeps_its_total(billing: Billing) -> None:
    customer = billing.customer()
    sale = billing.sale(customer, 70)
    invoice = billing.billed(customer, sale)
    edit = "update public.sales set total_amount = 80 where id = %s"
    with ruled_out("sales_billed_fixed"):
        billing.run(edit, sale)
    billing.cancel(invoice)
    billing.run(edit, sale)
    assert billing.broken() == []


class TestOlderSnapshots:
    """Repeatable read shows what was: it must not bill, pay or cancel by that."""

    def look(self, race: Race[Billing]) -> None:
        """From here on the second session sees nothing new."""
        race.second.run("rollback")
        race.second.run("begin isolation level repeatable read")
        race.second.value("select count(*) from public.payments")

    @pytest.mark.parametrize("change", ["delivery_status = 'cancelled'", "total_amount = 60"])
    def test_a_delivery_that_was_billed_meanwhile(self, those: Race[Billing], change: str) -> None:
        customer = those.watcher.customer()
        delivery = those.watcher.delivery(customer)
        invoice = those.watcher.billed(customer, total=50)
        self.look(those)
        those.watcher.line(invoice, delivery=delivery)
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            those.second.run(f"update public.deliveries set {change} where id = %s", delivery)
        assert those.watcher.broken() == []

    @pytest.mark.parametrize("attempt", ["cancel", "delete", "pay"])
    def test_an_invoice_that_got_a_line_meanwhile(self, those: Race[Billing], attempt: str) -> None:
        customer = those.watcher.customer()
        sale, invoice = those.watcher.sale(customer, 70), those.watcher.billed(customer, total=70)
        payment = those.watcher.payment(customer, 70)
        attempts: dict[str, Callable[[], object]] = {
            "cancel": lambda: those.second.cancel(invoice),
            "delete": lambda: those.second.delete(invoice),
            "pay": lambda: those.second.allocate(payment, {invoice: 70}),
        }
        self.look(those)
        those.watcher.line(invoice, sale=sale)
        with pytest.raises(psycopg.errors.SerializationFailure):
            attempts[attempt]()
        assert those.watcher.says(sale) == "Billed"
        assert those.watcher.broken() == []

    @pytest.mark.parametrize("attempt", ["pay", "price"])
    def test_a_sale_that_was_billed_meanwhile(self, those: Race[Billing], attempt: str) -> None:
        """Also one that somebody called Billed before: its status stays, so it says nothing."""
        customer = those.watcher.customer()
        sale = those.watcher.sale(customer, 40, status="Billed")
        invoice, payment = (
            those.watcher.billed(customer, total=40),
            those.watcher.payment(customer, 40),
        )
        attempts: dict[str, Callable[[], object]] = {
            "pay": lambda: those.second.pay_sales(payment, sale),
            "price": lambda: those.second.run(
                "update public.sales set total_amount = 90 where id = %s", sale
            ),
        }
        self.look(those)
        those.watcher.line(invoice, sale=sale)
        with pytest.raises(psycopg.errors.SerializationFailure):
            attempts[attempt]()
        assert those.watcher.broken() == []

    @pytest.mark.parametrize(
        "change",
        [
            "delete from public.invoice_line_items where sale_id = %s",
            "update public.invoice_line_items set line_total = null where sale_id = %s",
        ],
    )
    @pytest.mark.parametrize("was", ["draft", "cancelled"])
    def test_an_invoice_whose_lines_changed_meanwhile(
        self, those: Race[Billing], change: str, was: str
    ) -> None:
        customer = those.watcher.customer()
        sales = [those.watcher.sale(customer, amount) for amount in (40, 60)]
        invoice = those.watcher.billed(customer, *sales)
        those.watcher.set_status(invoice, was)
        self.look(those)
        those.watcher.run(change, sales[0])
        with pytest.raises(
            (psycopg.errors.SerializationFailure, psycopg.errors.FeatureNotSupported)
        ):
            those.second.set_status(invoice, "sent")
        assert those.watcher.broken() == []

    def test_an_invoice_that_a_line_joined_meanwhile(self, those: Race[Billing]) -> None:
        customer = those.watcher.customer()
        sale = those.watcher.sale(customer, 70)
        invoice = those.watcher.billed(customer, total=70)
        line = those.watcher.line(None, sale=sale)
        self.look(those)
        those.watcher.run(
            "update public.invoice_line_items set invoice_id = %s where id = %s", invoice, line
        )
        with pytest.raises(psycopg.errors.SerializationFailure):
            those.second.cancel(invoice)
        assert those.watcher.says(sale) == "Billed"
        assert those.watcher.broken() == []
