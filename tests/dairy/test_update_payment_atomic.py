"""update_payment_atomic: amount and allocations change together, or not at all."""

from decimal import Decimal
from uuid import UUID

import psycopg
import pytest

from dairy.books import Books, refused, ruled_out
from dairy.stages import first_and_last
from dairy.undoing import KEY, roll_back, update, update_as_told, void
from support.databases import Database

database = first_and_last("dairy_003")


@pytest.fixture
def books(database: Database) -> Books:
    """The books with the gap fixed, kept by the owner; every statement commits."""
    return Books(database.connect(autocommit=True))


class TestAmount:
    """p_amount: null keeps it, p_allocations null keeps the allocations."""

    def test_the_amount_changes_and_the_allocations_stay(self, books: Books) -> None:
        customer = books.customer()
        payment, invoice = books.payment(customer, 800), books.invoice(customer, 1000)
        books.allocate(payment, {invoice: 300})

        answer = update(books, payment, "750.50")

        assert answer == (
            True,
            0,
            300,
            Decimal("750.50"),
            Decimal("450.50"),
            "partially_applied",
            [],
        )
        assert books.allocations(payment) == {invoice: 300}
        assert books.payment_totals(payment) == (300, Decimal("450.50"), "partially_applied")
        assert books.unapplied(payment) == [Decimal("450.50")]
        assert books.broken() == []

    def test_an_amount_below_the_allocations_is_refused(self, books: Books) -> None:
        customer = books.customer()
        payment, invoice = books.payment(customer, 800), books.invoice(customer, 1000)
        books.allocate(payment, {invoice: 300})

        with refused("amount_below_allocated", status=409) as facts:
            update(books, payment, "299.99")

        assert facts == {"payment_id": str(payment), "requested": 299.99, "allocated": 300}
        assert update(books, payment, 300).allocation_status == "fully_applied"

    @pytest.mark.parametrize(
        "amount", ["NaN", "Infinity", "-Infinity", "1e30", "10.005", 0, -5, 10**10, "0.001"]
    )
    def test_what_is_no_sum_of_money_is_refused(self, books: Books, amount: str | int) -> None:
        payment = books.payment(books.customer(), 800)
        with refused("amount_invalid", status=400):
            update(books, payment, amount)
        assert books.payment_totals(payment) == (0, 800, "unapplied")

    def test_nothing_to_change_changes_nothing(self, books: Books) -> None:
        payment = books.payment(books.customer(), 800)
        assert update(books, payment).payment_amount == 800
        assert update(books, payment, "800.00").payment_amount == 800
        assert books.value("select count(*) from private.payment_edits") == 0

    def test_an_allocation_that_stays_is_not_touched(self, books: Books) -> None:
        customer = books.customer()
        payment = books.payment(customer, 800)
        same, less = books.invoice(customer, 300), books.invoice(customer, 300)
        books.allocate(payment, {same: 100, less: 100})
        books.run("update public.invoice_payments set updated_at = '2025-01-01'")

        update(books, payment, None, {same: 100, less: 90})

        touched = books.rows(
            "select invoice_id from public.invoice_payments where updated_at <> '2025-01-01'"
        )
        assert touched == [(less,)]


class TestReplacing:
    """p_allocations: what the payment pays of invoices afterwards."""

    def test_lowering_raising_leaving_and_joining_at_once(self, books: Books) -> None:
        customer = books.customer()
        payment = books.payment(customer, 1000)
        lowered, raised, left, joined = (books.invoice(customer, 500) for _ in range(4))
        books.allocate(payment, {lowered: 500, raised: 100, left: 400})

        answer = update(books, payment, 900, {raised: 500, joined: 150, lowered: "249.99"})

        assert answer.allocated_amount == Decimal("899.99")
        assert answer.unapplied_amount == Decimal("0.01")
        assert [each["applied"] for each in answer.applied] == [500, 150, 249.99]
        assert books.allocations(payment) == {
            lowered: Decimal("249.99"),
            raised: 500,
            joined: 150,
        }
        assert books.invoice_totals(left) == (0, 500, "sent")
        assert books.invoice_totals(raised) == (500, 0, "paid")
        assert books.broken() == []

    def test_an_empty_list_takes_all_of_it_off(self, books: Books) -> None:
        customer = books.customer()
        payment, invoice = books.payment(customer, 800), books.invoice(customer, 1000)
        books.allocate(payment, {invoice: 800})

        answer = update_as_told(books, payment, 5, "[]")

        assert (answer.payment_amount, answer.unapplied_amount) == (5, 5)
        assert books.allocations(payment) == {}
        assert books.unapplied(payment) == [5]

    def test_what_other_things_take_counts(self, books: Books) -> None:
        customer = books.customer(opening_balance=500)
        payment, invoice = books.payment(customer, 800), books.invoice(customer, 1000)
        books.run(
            "insert into public.opening_balance_payments (customer_id, payment_id, amount)"
            " values (%s, %s, 300)",
            customer,
            payment,
        )
        with refused("allocation_exceeds_payment", status=409) as facts:
            update(books, payment, 700, {invoice: 401})
        assert (facts["requested"], facts["available"]) == (401, 400)
        with refused("amount_below_allocated") as facts:
            update(books, payment, 299, {})
        assert facts["allocated"] == 300
        assert update(books, payment, 700, {invoice: 400}).total_allocated == 700

    def test_it_is_measured_against_the_new_amount(self, books: Books) -> None:
        customer = books.customer()
        payment, invoice = books.payment(customer, 300), books.invoice(customer, 1000)
        books.allocate(payment, {invoice: 300})
        with refused("allocation_exceeds_payment") as facts:
            update(books, payment, None, {invoice: 301})
        assert (facts["requested"], facts["available"]) == (301, 300)
        assert update(books, payment, 1000, {invoice: 1000}).unapplied_amount == 0
        assert update(books, payment, 200, {invoice: 200}).unapplied_amount == 0
        assert books.broken() == []

    def test_an_invoice_takes_what_is_outstanding_but_for_this_payment(self, books: Books) -> None:
        customer = books.customer()
        payment, other = books.payment(customer, 800), books.payment(customer, 100)
        invoice = books.invoice(customer, 500)
        books.allocate(other, {invoice: 100})
        books.allocate(payment, {invoice: 350})
        with refused("allocation_exceeds_invoice", status=409) as facts:
            update(books, payment, None, {invoice: "400.01"})
        assert facts == {"invoice_id": str(invoice), "requested": 400.01, "available": 400}
        assert update(books, payment, None, {invoice: 400}).total_allocated == 400

    def test_one_bad_line_changes_nothing_at_all(self, books: Books) -> None:
        customer = books.customer()
        payment, invoice = books.payment(customer, 800), books.invoice(customer, 500)
        books.allocate(payment, {invoice: 300})
        strange = books.invoice(books.customer(), 100)
        cancelled = books.invoice(customer, 100, status="cancelled")
        for line, reason, status in (
            (strange, "customer_mismatch", 422),
            (cancelled, "invoice_cancelled", 409),
            (UUID(int=1), "invoice_not_found", 404),
        ):
            with refused(reason, status=status):
                update(books, payment, 700, {invoice: 100, line: 1})
        assert books.allocations(payment) == {invoice: 300}
        assert books.payment_totals(payment) == (300, 500, "partially_applied")
        assert books.value("select count(*) from private.payment_edits") == 0

    def test_a_paid_invoice_that_stays_paid_keeps_its_sales_completed(self, books: Books) -> None:
        """Nothing is taken off and put back on the way: what stays is not written."""
        customer = books.customer()
        payment, invoice = books.payment(customer, 800), books.invoice(customer, 500)
        other = books.invoice(customer, 300)
        books.allocate(payment, {invoice: 500})
        update(books, payment, None, {invoice: 500, other: 300})
        assert books.rows(
            "select invoice_id, amount_change from private.allocation_journal order by id"
        ) == [(invoice, 500), (other, 300)]

    @pytest.mark.parametrize(
        ("allocations", "reason"),
        [
            ("null", "allocations_not_a_list"),
            ("{}", "allocations_not_a_list"),
            ('"[]"', "allocations_not_a_list"),
            ("[1]", "allocation_malformed"),
            ('[{"invoiceId": "x", "amount": 1}]', "allocation_malformed"),
            ('[{"invoiceId": "00000000-0000-0000-0000-000000000001"}]', "allocation_malformed"),
            (
                '[{"invoiceId": "00000000-0000-0000-0000-000000000001", "amount": "NaN"}]',
                "amount_invalid",
            ),
            (
                '[{"invoiceId": "00000000-0000-0000-0000-000000000001", "amount": 1e400}]',
                "amount_invalid",
            ),
        ],
    )
    def test_what_is_no_list_of_allocations_is_refused(
        self, books: Books, allocations: str, reason: str
    ) -> None:
        payment = books.payment(books.customer(), 800)
        with refused(reason, status=400):
            update_as_told(books, payment, None, allocations)

    def test_an_invoice_named_twice_is_refused(self, books: Books) -> None:
        customer = books.customer()
        payment, invoice = books.payment(customer, 800), books.invoice(customer, 500)
        with refused("invoice_named_twice", status=422):
            update_as_told(
                books,
                payment,
                None,
                f'[{{"invoiceId": "{invoice}", "amount": 1}},'
                f' {{"invoice_id": "{invoice}", "amount": 2}}]',
            )

    def test_a_payment_of_nobody_takes_none(self, books: Books) -> None:
        payment = books.payment(None, 100)
        with refused("payment_without_customer", status=422):
            update(books, payment, None, {books.invoice(books.customer(), 100): 1})
        assert update(books, payment, 200, {}).payment_amount == 200
        assert books.unapplied(payment) == []


def test_unknown_payments_are_not_found(books: Books) -> None:
    with refused("payment_not_found", status=404):
        update(books, UUID(int=1), 5)
    with refused("payment_required", status=400):
        update(books, None, 5)


def test_a_voided_payment_stays_as_it_was(books: Books) -> None:
    payment = books.payment(books.customer(), 800)
    void(books, payment)
    for amount in (900, None):
        with refused("payment_voided", status=409):
            update(books, payment, amount)


def test_with_a_key_the_first_answer_comes_again(books: Books) -> None:
    customer = books.customer()
    payment, invoice = books.payment(customer, 800), books.invoice(customer, 500)
    books.setting(KEY, "once")
    first = update(books, payment, 900, {invoice: 100}, "a reason")
    books.setting(KEY, "")
    update(books, payment, 1000, {})
    books.setting(KEY, "once")

    assert update(books, payment, "900.00", {invoice: "100.0"}, " a reason ") == first

    assert books.payment_totals(payment) == (0, 1000, "unapplied")
    for amount, lines in ((901, {invoice: 100}), (900, {}), (900, None), (None, {invoice: 100})):
        with refused("idempotency_key_reused", status=409):
            update(books, payment, amount, lines, "a reason")
    with refused("key_not_undoable", status=409):
        roll_back(books, payment)


class TestEdits:
    """Every edit of a payment is kept, whoever makes it."""

    @pytest.fixture
    def payment(self, books: Books) -> UUID:
        return books.payment(books.customer(), 800)

    def edits(self, books: Books) -> list[tuple[object, ...]]:
        return books.rows(
            "select was, became, reason, recorded_by, call_id is not null"
            " from private.payment_edits order by id"
        )

    def test_a_call_is_kept_with_its_reason(self, books: Books, payment: UUID) -> None:
        update(books, payment, "750.50", None, " typed wrongly ")
        assert self.edits(books) == [
            ({"amount": 800}, {"amount": 750.5}, "typed wrongly", "postgres", True)
        ]

    def test_allocations_carry_the_reason_too(self, books: Books, payment: UUID) -> None:
        customer = books.value("select customer_id from public.payments where id = %s", payment)
        update(books, payment, 900, {books.invoice(customer, 100): 100}, "with the invoice")
        assert books.rows(
            "select journal.reason, edit.reason, journal.call_id = edit.call_id"
            " from private.allocation_journal as journal cross join private.payment_edits as edit"
        ) == [("with the invoice", "with the invoice", True)]

    def test_a_direct_edit_is_kept(self, database: Database, books: Books, payment: UUID) -> None:
        app = Books(database.connect(role="authenticated", autocommit=True))
        app.setting("pymilk.reason", "told by phone")
        app.run(
            "update public.payments set amount = 700, payment_method = 'Cash', notes = 'x',"
            " payment_date = '2025-09-11', updated_at = now() where id = %s",
            payment,
        )
        assert self.edits(books) == [
            (
                {"amount": 800, "payment_method": "UPI", "payment_date": "2025-09-10"},
                {"amount": 700, "payment_method": "Cash", "payment_date": "2025-09-11"},
                "told by phone",
                "authenticated",
                False,
            )
        ]

    def test_what_changes_nothing_is_no_edit(self, books: Books, payment: UUID) -> None:
        books.run(
            "update public.payments set amount = 800.00, payment_method = 'UPI', notes = 'y',"
            " period_start = '2025-08-01' where id = %s",
            payment,
        )
        customer = books.value("select customer_id from public.payments where id = %s", payment)
        books.allocate(payment, {books.invoice(customer, 100): 100})
        assert self.edits(books) == []

    def test_a_void_is_an_edit(self, books: Books, payment: UUID) -> None:
        void(books, payment, "cheque returned")
        ((was, became, reason, *_),) = self.edits(books)
        assert was == {"voided_at": None, "voided_by": None, "void_reason": None}
        assert isinstance(became, dict)
        assert (became["voided_by"], became["void_reason"]) == ("postgres", "cheque returned")
        assert reason == "cheque returned"

    def test_many_at_once_are_kept_one_by_one(self, books: Books, payment: UUID) -> None:
        other = books.payment(None, 5)
        books.run(
            "update public.payments set customer_id = (select customer_id from public.payments"
            " where id = %s), amount = amount + 1",
            payment,
        )
        assert {row[0] for row in books.rows("select payment_id from private.payment_edits")} == {
            payment,
            other,
        }

    def test_they_outlive_the_payment_and_are_only_appended_to(
        self, books: Books, payment: UUID
    ) -> None:
        update(books, payment, 5)
        books.run("delete from public.unapplied_payments")
        books.run("delete from public.payments where id = %s", payment)
        assert len(self.edits(books)) == 1
        for statement in ("update {} set reason = 'x'", "delete from {}", "truncate {}"):
            with ruled_out("payment_edits_append_only"):
                books.run(statement.format("private.payment_edits"))

    def test_nobody_else_reads_or_writes_them(self, database: Database) -> None:
        for role in ("anon", "authenticated", "service_role"):
            books = Books(database.connect(role=role, autocommit=True))
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                books.rows("select * from private.payment_edits")


def test_anon_cannot_call_it(database: Database) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        update(Books(database.connect(role="anon", autocommit=True)), UUID(int=1), 5)
