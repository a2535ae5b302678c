"""void_payment: a payment that was none leaves every sum, and its row stays."""

from uuid import UUID

import psycopg
import pytest

from dairy.books import Books, refused, ruled_out
from dairy.stages import first_and_last
from dairy.undoing import KEY, void
from support.databases import ROOT, Database

database = first_and_last("dairy_002")


@pytest.fixture
def books(database: Database) -> Books:
    """The books with the gap fixed, kept by the owner; every statement commits."""
    return Books(database.connect(autocommit=True))


@pytest.fixture
def customer(books: Books) -> UUID:
    return books.customer(opening_balance=500)


@pytest.fixture
def payment(books: Books, customer: UUID) -> UUID:
    return books.payment(customer, 800)


def state(books: Books) -> list[tuple[object, ...]]:
    """What everybody owes and has in credit, and the dairy's totals."""
    return [
        tuple(row)
        for path in sorted((ROOT / "sql" / "state").glob("*.sql"))
        for row in books.connection.execute(path.read_bytes()).fetchall()
    ]


def test_everything_comes_off_and_nothing_is_left(
    books: Books, customer: UUID, payment: UUID
) -> None:
    invoice = books.invoice(customer, 300)
    sale = books.value(
        "insert into public.sales (customer_id, product_id, quantity, unit_price, total_amount,"
        " sale_type, payment_status) select %s, id, 1, 70, 70, 'Credit', 'Pending'"
        " from public.products limit 1 returning id",
        customer,
    )
    books.allocate(payment, {invoice: 300})
    books.run(
        "insert into public.opening_balance_payments (customer_id, payment_id, amount)"
        " values (%s, %s, 200)",
        customer,
        payment,
    )
    books.run(
        "insert into public.sales_payments (sales_id, payment_id, amount_allocated)"
        " values (%s, %s, 70)",
        sale,
        payment,
    )

    answer = void(books, payment, "  cheque returned\n")

    assert answer[:4] == (True, 1, 570, 800)
    assert books.payment_totals(payment) == (0, 0, "unapplied")
    assert books.invoice_totals(invoice) == (0, 300, "sent")
    assert books.unapplied(payment) == []
    assert books.rows(
        "select voided_at, voided_by, void_reason, amount from public.payments where id = %s",
        payment,
    ) == [(answer.voided_at, "postgres", "cheque returned", 800)]
    assert books.rows(
        "select amount_change, reason from private.allocation_journal where amount_change < 0"
    ) == [(-300, "cheque returned")]
    assert books.broken() == []
    assert books.violations() == set()


def test_the_books_are_what_they_were_without_it(books: Books, customer: UUID) -> None:
    before = state(books)
    payment = books.payment(customer, 800)
    assert state(books) != before
    void(books, payment)
    assert state(books) == before


@pytest.mark.parametrize("reason", [None, "", " \t\n"])
def test_it_needs_a_reason(books: Books, payment: UUID, reason: str | None) -> None:
    with refused("reason_required", status=400):
        void(books, payment, reason)
    with refused("reason_too_long", status=400):
        void(books, payment, "x" * 1001)
    assert books.payment_totals(payment) == (0, 800, "unapplied")


def test_unknown_payments_are_not_found(books: Books) -> None:
    with refused("payment_not_found", status=404):
        void(books, UUID(int=1))
    with refused("payment_required", status=400):
        void(books, None)


def test_voiding_twice_is_refused_and_says_what_was(books: Books, payment: UUID) -> None:
    void(books, payment, "first")
    with refused("payment_voided", status=409) as facts:
        void(books, payment, "second")
    assert (facts["voided_by"], facts["void_reason"]) == ("postgres", "first")
    assert facts["voided_at"]


def test_the_same_key_gets_the_same_answer(books: Books, payment: UUID) -> None:
    books.setting(KEY, "once")
    assert void(books, payment, "bounced") == void(books, payment, " bounced ")
    with refused("idempotency_key_reused", status=409):
        void(books, payment, "another reason")


def test_a_payment_of_nobody_can_be_voided(books: Books) -> None:
    payment = books.payment(None, 100)
    void(books, payment)
    assert books.payment_totals(payment) == (0, 0, "unapplied")
    assert books.broken() == []


class TestAfterwards:
    """A voided payment takes no allocation, keeps its amount and stays voided."""

    @pytest.fixture
    def voided(self, books: Books, payment: UUID) -> UUID:
        void(books, payment)
        return payment

    def test_no_rpc_allocates_it(self, books: Books, customer: UUID, voided: UUID) -> None:
        for validate in (True, False):
            with refused("payment_voided", status=409) as facts:
                books.allocate(voided, {books.invoice(customer, 100): 1}, validate=validate)
        assert facts["void_reason"] == "cheque returned"

    def test_no_direct_write_allocates_it(self, books: Books, customer: UUID, voided: UUID) -> None:
        with ruled_out("payments_voided_holds_nothing"):
            books.allocate_directly(voided, books.invoice(customer, 100), 1)
        with ruled_out("payments_voided_holds_nothing"):
            books.run(
                "insert into public.opening_balance_payments (customer_id, payment_id, amount)"
                " values (%s, %s, 1)",
                customer,
                voided,
            )

    @pytest.mark.parametrize(
        "change",
        [
            "voided_at = null",
            "voided_at = null, voided_by = null, void_reason = null",
            "voided_at = now() + interval '1 day'",
            "voided_by = 'somebody else'",
            "void_reason = 'another'",
            "amount = 900",
            "amount = 1",
        ],
    )
    def test_no_direct_write_changes_it(self, books: Books, voided: UUID, change: str) -> None:
        with ruled_out("payments_voided_for_good"):
            books.run(f"update public.payments set {change} where id = %s", voided)

    def test_nobody_is_believed_about_what_is_left(self, books: Books, voided: UUID) -> None:
        books.run(
            "update public.payments set amount_applied = 1, amount_unapplied = 800,"
            " allocation_status = 'fully_applied' where id = %s",
            voided,
        )
        assert books.payment_totals(voided) == (0, 0, "unapplied")

    def test_its_other_columns_can_be_edited(self, books: Books, voided: UUID) -> None:
        books.run(
            "update public.payments set notes = 'see the bank''s letter', amount = 800,"
            " payment_date = '2025-09-01', updated_at = now() where id = %s",
            voided,
        )
        assert books.payment_totals(voided) == (0, 0, "unapplied")
        assert books.broken() == []

    def test_it_can_be_deleted_like_any_payment(self, books: Books, voided: UUID) -> None:
        assert books.run("delete from public.payments where id = %s", voided) == 1


class TestDirectly:
    """Voiding by a direct write: only what holds nothing, with a reason, by whom it was."""

    def test_a_payment_that_holds_nothing_can_be_voided(
        self, database: Database, books: Books, payment: UUID
    ) -> None:
        app = Books(database.connect(role="authenticated", autocommit=True))
        app.run(
            "update public.payments set voided_at = '2020-01-01', voided_by = 'the boss',"
            " void_reason = 'typed twice' where id = %s",
            payment,
        )
        assert books.payment_totals(payment) == (0, 0, "unapplied")
        assert books.rows(
            "select voided_at > '2025-01-01', voided_by, void_reason from public.payments"
            " where id = %s",
            payment,
        ) == [(True, "authenticated", "typed twice")]
        assert books.broken() == []

    def test_one_that_holds_money_cannot(self, books: Books, customer: UUID, payment: UUID) -> None:
        books.allocate(payment, {books.invoice(customer, 100): 1})
        with ruled_out("payments_voided_holds_nothing"):
            books.run(
                "update public.payments set voided_at = now(), void_reason = 'x' where id = %s",
                payment,
            )

    def test_it_needs_a_reason(self, books: Books, payment: UUID) -> None:
        for reason in ("", ", void_reason = ' '"):
            with ruled_out("payments_void_has_reason"):
                books.run(f"update public.payments set voided_at = now(){reason}")
        assert books.payment_totals(payment) == (0, 800, "unapplied")

    def test_a_reason_alone_is_none(self, books: Books, payment: UUID) -> None:
        books.run("update public.payments set void_reason = 'x', voided_by = 'y'")
        assert books.rows(
            "select voided_by, void_reason from public.payments where id = %s", payment
        ) == [(None, None)]

    def test_nothing_is_recorded_as_voided(self, books: Books, customer: UUID) -> None:
        with ruled_out("payments_recorded_live"):
            books.run(
                "insert into public.payments (customer_id, amount, payment_date, voided_at)"
                " values (%s, 5, '2025-09-01', now())",
                customer,
            )
        found = books.rows(
            "insert into public.payments (customer_id, amount, payment_date, amount_unapplied,"
            " voided_by, void_reason) values (%s, 5, '2025-09-01', 5, 'x', 'y')"
            " returning voided_by, void_reason, amount_unapplied",
            customer,
        )
        assert found == [(None, None, 5)]

    @pytest.mark.parametrize("role", ["authenticated", "service_role"])
    def test_nor_by_dating_it_back(
        self, database: Database, books: Books, customer: UUID, role: str
    ) -> None:
        """What says it was made earlier comes from a restore, and that is the owner's."""
        insert = (
            "insert into public.payments (customer_id, amount, payment_date, created_at, voided_at,"
            " voided_by, amount_unapplied) values (%s, 5, '2025-09-01', '2025-09-01', now(),"
            " 'somebody else', 0) returning voided_by"
        )
        app = Books(database.connect(role=role, autocommit=True))
        with ruled_out("payments_recorded_live"):
            app.value(insert, customer)
        assert books.value(insert, customer) == "somebody else"
        assert books.broken() == []


def test_without_the_rules_each_of_these_goes_through(books: Books, payment: UUID) -> None:
    """So that the tests above can fail."""
    void(books, payment)
    for trigger in ("refuse_change_of_voided", "refuse_allocation_of_voided"):
        books.run(f"drop trigger {trigger} on public.payments")
    books.run("update public.payments set amount = 900 where id = %s", payment)
    books.allocate_directly(
        payment,
        books.invoice(
            books.value("select customer_id from public.payments where id = %s", payment), 100
        ),
        1,
    )
    assert "voided_payments_hold_nothing" in {row[0] for row in books.broken()}
    assert "voided_payments_hold_nothing" in books.violations()


def test_anon_calls_none_of_it(database: Database, payment: UUID) -> None:
    books = Books(database.connect(role="anon", autocommit=True))
    for call in (
        "public.rollback_partial_allocation(%s)",
        "public.unallocate_payment(%s, null, null)",
        "public.void_payment(%s, 'x')",
        "public.update_invoice_status(%s)",
        "public.update_invoice_status_with_sales_completion(%s)",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            books.run(f"select {call}", payment)
