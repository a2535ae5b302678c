"""allocate_payment_to_sales_atomic, and what the tables hold of sales, whoever writes."""

import json
from decimal import Decimal
from uuid import UUID, uuid4

import psycopg
import pytest

from dairy.books import refused, ruled_out
from dairy.settling import Settling, silently
from dairy.undoing import roll_back, void
from support.databases import Database

SALE = UUID("00000000-0000-4000-8000-00000000000a")


@pytest.fixture
def books(dairy_005: Database) -> Settling:
    """The books with gap 005 fixed, kept by the owner; every statement commits."""
    return Settling(dairy_005.connect(autocommit=True))


@pytest.fixture
def customer(books: Settling) -> UUID:
    """Who buys."""
    return books.customer()


@pytest.fixture
def payment(books: Settling, customer: UUID) -> UUID:
    """A payment of 800 by the customer."""
    return books.payment(customer, 800)


def test_it_pays_each_sale_whole(books: Settling, customer: UUID, payment: UUID) -> None:
    one, two = books.sale(customer, 120), books.sale(customer, "30.50")

    answer = books.pay_sales(payment, one, {"sale_id": str(two), "amount": "30.500"})

    assert answer == {
        "success": True,
        "allocated_amount": Decimal("150.5"),
        "total_allocated": Decimal("150.5"),
        "payment_amount": 800,
        "unapplied_amount": Decimal("649.5"),
        "allocation_status": "partially_applied",
        "applied": [
            {"sale_id": str(one), "applied": 120},
            {"sale_id": str(two), "applied": 30.5},
        ],
    }
    assert books.sale_state(one) == (120, "Completed")
    assert books.sale_state(two) == (Decimal("30.5"), "Completed")
    assert books.unapplied(payment) == [Decimal("649.5")]
    assert books.broken() == []
    assert books.violations() == set()


def test_all_or_none(books: Settling, customer: UUID, payment: UUID) -> None:
    one, dear = books.sale(customer, 100), books.sale(customer, "700.01")
    with refused("allocation_exceeds_payment", status=409) as facts:
        books.pay_sales(payment, one, dear)
    assert (facts["requested"], facts["available"]) == (800.01, 800)
    assert books.sale_state(one) == (0, "Pending")


def test_refusals(books: Settling, customer: UUID, payment: UUID) -> None:
    sale, paid, billed = (books.sale(customer, 100) for _ in range(3))
    cash = books.sale(None, 100, kind="Cash")
    invoice = books.invoice(customer, 100)
    books.bill(invoice, billed)
    books.pay_sales(payment, paid)
    strange = books.sale(books.customer(), 100)
    voided = books.payment(customer, 100)
    void(books, voided)

    with refused("payment_required", status=400):
        books.pay_sales(None, sale)
    with refused("payment_not_found", status=404):
        books.pay_sales(uuid4(), sale)
    with refused("payment_without_customer", status=422):
        books.pay_sales(books.payment(None, 100), sale)
    with refused("payment_voided", status=409):
        books.pay_sales(voided, sale)
    with refused("sale_not_found", status=404):
        books.pay_sales(payment, sale, uuid4())
    with refused("sale_not_payable", status=422):
        books.pay_sales(payment, sale, cash)
    with refused("customer_mismatch", status=422):
        books.pay_sales(payment, sale, strange)
    with refused("sale_billed", status=409) as facts:
        books.pay_sales(payment, sale, billed)
    assert facts == {"sale_id": str(billed), "invoice_id": str(invoice)}
    with refused("sale_already_paid", status=409):
        books.pay_sales(payment, sale, paid)
    with refused("sale_named_twice", status=422):
        books.pay_sales(payment, sale, {"sale_id": str(sale).upper()})
    for amount in ("99.99", 100.01, 1):
        with refused("sale_paid_whole", status=422) as facts:
            books.pay_sales(payment, {"saleId": str(sale), "amount": amount})
        assert facts["remaining"] == 100
    assert books.sale_state(sale) == (0, "Pending")
    assert books.broken() == []


def test_malformed_lists_are_refused(books: Settling, payment: UUID) -> None:
    for given in (None, "null", "{}", '"[]"', "5", f'{{"saleId": "{SALE}"}}'):
        with refused("allocations_not_a_list", status=400):
            books.pay_sales_with(payment, given)
    with refused("allocations_empty", status=400):
        books.pay_sales_with(payment, "[]")
    for line in (
        "null",
        "5",
        '"text"',
        "[]",
        "{}",
        '{"saleId": null}',
        '{"saleId": 5}',
        '{"saleId": "not-a-uuid"}',
        f'{{"SALEID": "{SALE}"}}',
        f'{{"saleId": "{SALE.hex}"}}',
        f'{{"saleId": ["{SALE}"]}}',
        f'{{"saleId": "{SALE}", "sale_id": "{UUID(int=1)}"}}',
        '{"saleId": "' + "a" * 100_000 + '"}',
        '{"saleId": "😀"}',
        "[" * 500 + "]" * 500,
    ):
        with refused("allocation_malformed", status=400) as facts:
            books.pay_sales_with(payment, f'[{{"saleId": "{UUID(int=2)}"}}, {line}]')
        assert facts["line"] == 2
        assert len(facts["given"]) <= 200
    for amount in (
        "0",
        "-1",
        "0.001",
        "1e400",
        "10000000000",
        "true",
        "[]",
        "{}",
        '""',
        '"NaN"',
        '"Infinity"',
        '"1e2"',
        '"5.001"',
        '"\u0665"',  # an Arabic-Indic five
        json.dumps("9" * 200_000),
    ):
        with refused("amount_invalid", status=400) as facts:
            books.pay_sales_with(payment, f'[{{"saleId": "{SALE}", "amount": {amount}}}]')
        assert facts["sale_id"] == str(SALE)


def test_of_several_malformed_lines_the_first_is_told(books: Settling, payment: UUID) -> None:
    lines = [f'{{"saleId": "{SALE}"}}', "{}", f'{{"saleId": "{SALE}", "amount": 0}}', "5"]
    with refused("allocation_malformed", status=400) as facts:
        books.pay_sales_with(payment, f"[{', '.join(lines)}]")
    assert facts["line"] == 2


def test_a_sale_paid_in_part_before_the_gap_is_paid_to_the_end(
    dairy_005: Database, books: Settling, customer: UUID, payment: UUID
) -> None:
    sale, other = books.sale(customer, 100), books.payment(customer, 40)
    silently(
        dairy_005,
        "insert into public.sales_payments (sales_id, payment_id, amount_allocated)"
        " values (%s, %s, 40)",
        sale,
        other,
    )
    silently(dairy_005, "update public.sales set amount_paid = 40 where id = %s", sale)
    silently(
        dairy_005,
        "update public.payments set amount_applied = 40, amount_unapplied = 0,"
        " allocation_status = 'fully_applied' where id = %s",
        other,
    )
    silently(dairy_005, "delete from public.unapplied_payments where payment_id = %s", other)
    assert books.violations() >= {"sales_paid_whole"}
    with refused("sale_paid_whole", status=422) as facts:
        books.pay_sales(payment, {"saleId": str(sale), "amount": 100})
    assert facts["remaining"] == 60
    books.run("update public.sales set notes = 'half' where id = %s", sale)

    assert books.pay_sales(payment, sale)["allocated_amount"] == 60
    assert books.sale_state(sale) == (100, "Completed")
    assert books.broken() == []
    # two payments hold it now: each can come off
    void(books, other)
    assert books.sale_state(sale) == (60, "Pending")


class TestKeys:
    """An idempotency key makes a call that is sent twice happen once, and undoes it."""

    def test_the_first_answer_comes_again(
        self, books: Settling, customer: UUID, payment: UUID
    ) -> None:
        sale = books.sale(customer, 100)
        books.with_key()
        first = books.pay_sales(payment, sale)
        assert books.pay_sales(payment, {"sale_id": str(sale).upper()}) == first
        with refused("idempotency_key_reused", status=409):
            books.pay_sales(payment, books.sale(customer, 100))

    def test_undoing_takes_off_what_this_call_put_there(
        self, books: Settling, customer: UUID, payment: UUID
    ) -> None:
        one, two, third = (books.sale(customer, 100) for _ in range(3))
        first = books.with_key()
        books.pay_sales(payment, one, two)
        books.with_key()
        books.pay_sales(payment, third)

        books.with_key(first)
        assert roll_back(books, payment) == (True, 0, 200, False)

        assert [books.sale_state(sale) for sale in (one, two, third)] == [
            (0, "Pending"),
            (0, "Pending"),
            (100, "Completed"),
        ]
        assert books.broken() == []
        with refused("request_undone", status=409):
            books.pay_sales(payment, one, two)

    def test_without_a_key_only_direct_writes_come_off(
        self, books: Settling, customer: UUID, payment: UUID
    ) -> None:
        by_call, directly = books.sale(customer, 100), books.sale(customer, 50)
        books.pay_sales(payment, by_call)
        books.pay_sale_directly(payment, directly, 50)
        assert roll_back(books, payment).removed_amount == 50
        assert books.sale_state(by_call) == (100, "Completed")
        assert books.sale_state(directly) == (0, "Pending")


class TestDirectWrites:
    """What the app writes into the tables itself."""

    def test_its_insert_and_delete_are_counted(
        self, books: Settling, customer: UUID, payment: UUID
    ) -> None:
        sale = books.sale(customer, 100)
        books.pay_sale_directly(payment, sale, 100)
        books.run("update public.sales set payment_status = 'Completed' where id = %s", sale)
        assert books.sale_state(sale) == (100, "Completed")
        assert books.broken() == []
        books.run("delete from public.sales_payments where sales_id = %s", sale)
        assert books.sale_state(sale) == (0, "Pending")
        assert books.rows(
            "select sale_id, amount_change from private.settlement_journal order by id"
        ) == [(sale, 100), (sale, -100)]
        assert books.broken() == []

    def test_a_part_is_refused(self, books: Settling, customer: UUID, payment: UUID) -> None:
        sale, other = books.sale(customer, 100), books.payment(customer, 800)
        for amount in ("99.99", 1):
            with ruled_out("sales_payments_whole"):
                books.pay_sale_directly(payment, sale, amount)
        with ruled_out("sales_payments_whole"):
            books.pay_sale_directly(payment, sale, 101)
        with ruled_out("sales_payments_whole"):
            books.run(
                "insert into public.sales_payments (sales_id, payment_id, amount_allocated)"
                " values (%s, %s, 50), (%s, %s, 50)",
                *(sale, payment, sale, other),
            )
        books.pay_sale_directly(payment, sale, 100)
        with ruled_out("sales_payments_whole"):
            books.run("update public.sales_payments set amount_allocated = 60")
        with ruled_out("sales_payments_whole"):
            books.pay_sale_directly(other, sale, 100)
        books.run("update public.sales_payments set payment_id = %s", other)
        assert books.payment_totals(other).applied == 100
        assert books.payment_totals(payment).applied == 0
        assert books.broken() == []

    def test_strange_targets_are_refused(
        self, books: Settling, customer: UUID, payment: UUID
    ) -> None:
        billed = books.sale(customer, 100)
        books.bill(books.invoice(customer, 100), billed)
        for sale, rule in (
            (billed, "sales_payments_unbilled"),
            (books.sale(None, 100, kind="QR"), "sales_payments_credit_only"),
            (books.sale(books.customer(), 100), "sales_payments_same_customer"),
        ):
            with ruled_out(rule):
                books.pay_sale_directly(payment, sale, 100)
        assert books.broken() == []

    def test_a_sale_that_is_paid_keeps_total_customer_and_type(
        self, books: Settling, customer: UUID, payment: UUID
    ) -> None:
        sale = books.sale(customer, 100)
        books.pay_sales(payment, sale)
        for change, rule in (
            ("total_amount = 101", "sales_paid_total_fixed"),
            ("total_amount = 99", "sales_paid_total_fixed"),
            (f"customer_id = '{books.customer()}'", "sales_paid_customer_fixed"),
            ("sale_type = 'Cash', customer_id = null", "sales_paid_customer_fixed"),
        ):
            with ruled_out(rule):
                books.run(f"update public.sales set {change} where id = %s", sale)
        books.run("update public.sales set notes = 'paid', quantity = 2 where id = %s", sale)
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            books.run("delete from public.sales where id = %s", sale)

    @pytest.mark.parametrize("total", ["NaN", "Infinity", "10000000000", "0.001"])
    def test_the_total_is_a_sum_of_money(self, books: Settling, customer: UUID, total: str) -> None:
        with ruled_out("sales_total_valid"):
            books.sale(customer, total)
        sale = books.sale(customer, 1)
        with ruled_out("sales_total_valid"):
            books.run("update public.sales set total_amount = %s where id = %s", total, sale)

    def test_the_callers_word_for_the_counter_is_not_believed(
        self, books: Settling, customer: UUID, payment: UUID
    ) -> None:
        made = books.value(
            "insert into public.sales (customer_id, product_id, quantity, unit_price, total_amount,"
            " sale_type, payment_status, amount_paid)"
            " select %s, min(id::text)::uuid, 1, 100, 100, 'Credit', 'Pending', 100"
            " from public.products returning id",
            customer,
        )
        assert books.sale_state(made) == (0, "Pending")
        books.pay_sales(payment, made)
        books.run("update public.sales set amount_paid = 0 where id = %s", made)
        assert books.sale_state(made) == (100, "Completed")


class TestStatus:
    """payment_status says what payments and invoices say; otherwise what the app says."""

    def test_a_free_sale_is_what_the_app_says(self, books: Settling, customer: UUID) -> None:
        sale = books.sale(customer, 100)
        for status in ("Completed", "Billed", "Pending"):
            books.run("update public.sales set payment_status = %s where id = %s", status, sale)
            assert books.sale_state(sale) == (0, status)
        assert books.broken() == []

    def test_a_paid_sale_stays_completed(
        self, books: Settling, customer: UUID, payment: UUID
    ) -> None:
        sale = books.sale(customer, 100)
        books.pay_sales(payment, sale)
        for status in ("Pending", "Billed"):
            books.run("update public.sales set payment_status = %s where id = %s", status, sale)
            assert books.sale_state(sale) == (100, "Completed")

    def test_a_billed_sale_follows_its_invoice(
        self, books: Settling, customer: UUID, payment: UUID
    ) -> None:
        sale, invoice = books.sale(customer, 100), books.invoice(customer, 100)
        books.bill(invoice, sale)
        assert books.sale_state(sale) == (0, "Billed")
        books.run("update public.sales set payment_status = 'Pending' where id = %s", sale)
        assert books.sale_state(sale) == (0, "Billed")
        books.allocate(payment, {invoice: 100})
        assert books.sale_state(sale) == (0, "Completed")
        books.run("update public.sales set payment_status = 'Billed' where id = %s", sale)
        assert books.sale_state(sale) == (0, "Completed")
        books.run("delete from public.invoice_payments where invoice_id = %s", invoice)
        assert books.sale_state(sale) == (0, "Billed")
        assert books.broken() == []
        assert books.violations() == set()

    def test_a_sale_off_its_invoice_is_pending_and_payable(
        self, books: Settling, customer: UUID, payment: UUID
    ) -> None:
        sale, kept = books.sale(customer, 100), books.sale(customer, 100)
        invoice = books.invoice(customer, 200)
        books.bill(invoice, sale, kept)
        books.run("delete from public.invoice_line_items where sale_id = %s", sale)
        assert books.sale_state(sale) == (0, "Pending")
        assert books.sale_state(kept) == (0, "Billed")
        books.pay_sales(payment, sale)
        assert books.broken() == []

    def test_a_line_may_go_over_to_another_sale(self, books: Settling, customer: UUID) -> None:
        sale, other = books.sale(customer, 100), books.sale(customer, 100)
        books.bill(books.invoice(customer, 200), sale)
        books.run("update public.invoice_line_items set product_name = 'x'")
        books.run(
            "update public.invoice_line_items set sale_id = %s where sale_id = %s", other, sale
        )
        assert books.sale_state(sale) == (0, "Pending")
        assert books.sale_state(other) == (0, "Billed")

    def test_a_paid_sale_is_not_billed(
        self, books: Settling, customer: UUID, payment: UUID
    ) -> None:
        sale = books.sale(customer, 100)
        books.pay_sales(payment, sale)
        with ruled_out("invoice_line_items_sale_unpaid"):
            books.bill(books.invoice(customer, 100), sale)
        assert books.sale_state(sale) == (100, "Completed")

    def test_the_deletion_that_the_app_knows_frees_the_sales(
        self, books: Settling, customer: UUID
    ) -> None:
        sale, invoice = books.sale(customer, 100), books.invoice(customer, 100)
        books.run("update public.sales set sale_date = '2025-08-10' where id = %s", sale)
        books.bill(invoice, sale)
        books.value("select public.delete_invoice_and_revert_sales(%s)", invoice)
        assert books.sale_state(sale) == (0, "Pending")
        assert books.broken() == []

    def test_one_invoices_deletion_leaves_the_others_sales_alone(
        self, books: Settling, customer: UUID
    ) -> None:
        """It reverted sales by date range, whichever invoice had billed them."""
        one, two = books.sale(customer, 100), books.sale(customer, 100)
        books.run("update public.sales set sale_date = '2025-08-10'")
        invoices = [books.invoice(customer, 100), books.invoice(customer, 100)]
        books.bill(invoices[0], one)
        books.bill(invoices[1], two)
        books.value("select public.delete_invoice_and_revert_sales(%s)", invoices[0])
        assert books.sale_state(one) == (0, "Pending")
        assert books.sale_state(two) == (0, "Billed")


def test_a_line_that_the_app_dates_itself_bills_its_sale(
    dairy_005: Database, books: Settling, customer: UUID
) -> None:
    """Of a restored line the status of its sale is restored as well; the app restores nothing."""
    sale, invoice = books.sale(customer, 40), books.invoice(customer, 40)
    app = Settling(dairy_005.connect(role="authenticated", autocommit=True))
    app.run(
        "insert into public.invoice_line_items (invoice_id, line_item_type, sale_id, line_total,"
        " created_at) values (%s, 'manual_sale', %s, 40, '2025-09-10')",
        invoice,
        sale,
    )
    assert books.sale_state(sale) == (0, "Billed")
    assert books.broken() == []
