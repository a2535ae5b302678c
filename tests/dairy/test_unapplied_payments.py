"""unapplied_payments follows the payments, whoever writes what, and by whatever way."""

from uuid import UUID, uuid4

import psycopg
import pytest

from dairy.books import Books, Money, ruled_out
from dairy.stages import first_and_last
from support.databases import Database

MIRROR = "select customer_id, amount_unapplied from public.unapplied_payments where payment_id = %s"


database = first_and_last("dairy_004")


@pytest.fixture
def books(database: Database) -> Books:
    """The books with the gap fixed, kept by the owner; every statement commits."""
    return Books(database.connect(autocommit=True))


@pytest.fixture
def app(database: Database) -> Books:
    """The app's session: role authenticated, every statement commits."""
    return Books(database.connect(role="authenticated", autocommit=True))


def insert_mirror(books: Books, customer: UUID, payment: UUID, amount: Money) -> list[Money]:
    """The app's insert after a payment; the amounts of the rows that come back."""
    return [
        found
        for (found,) in books.rows(
            "insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied)"
            " values (%s, %s, %s) returning amount_unapplied",
            customer,
            payment,
            amount,
        )
    ]


class TestMovements:
    """Each movement of a payment moves its row."""

    def test_a_payment_is_recorded(self, books: Books) -> None:
        customer = books.customer()
        payment = books.payment(customer, "800.50")
        assert books.rows(MIRROR, payment) == [(customer, pytest.approx(800.5))]

    def test_a_payment_without_a_customer_has_none_until_it_has_one(self, books: Books) -> None:
        payment, first, second = books.payment(None, 800), books.customer(), books.customer()
        assert books.rows(MIRROR, payment) == []
        for customer in (first, second):
            books.run(
                "update public.payments set customer_id = %s where id = %s", customer, payment
            )
            assert books.rows(MIRROR, payment) == [(customer, 800)]
        books.run("update public.payments set customer_id = null where id = %s", payment)
        assert books.rows(MIRROR, payment) == []

    def test_its_amount_is_edited(self, books: Books) -> None:
        payment = books.payment(books.customer(), 800)
        books.run("update public.payments set amount = 700 where id = %s", payment)
        assert books.unapplied(payment) == [700]

    def test_it_is_allocated_and_freed_again(self, books: Books) -> None:
        customer = books.customer()
        payment, invoice = books.payment(customer, 800), books.invoice(customer, 1000)
        books.allocate_directly(payment, invoice, 300)
        assert books.unapplied(payment) == [500]
        books.run(
            "update public.invoice_payments set amount_allocated = 800 where payment_id = %s",
            payment,
        )
        assert books.unapplied(payment) == []
        books.run("delete from public.invoice_payments where payment_id = %s", payment)
        assert books.unapplied(payment) == [800]

    def test_it_pays_opening_balance_and_a_sale(self, books: Books) -> None:
        customer = books.customer(opening_balance=500)
        payment = books.payment(customer, 800)
        books.run(
            "insert into public.opening_balance_payments (customer_id, payment_id, amount)"
            " values (%s, %s, 500)",
            customer,
            payment,
        )
        assert books.unapplied(payment) == [300]
        books.run(
            "with sale as (insert into public.sales (customer_id, product_id, quantity, unit_price,"
            " total_amount, sale_type, payment_status) select %s, min(id::text)::uuid, 1, 300, 300,"
            " 'Credit', 'Pending' from public.products returning id)"
            " insert into public.sales_payments (sales_id, payment_id, amount_allocated)"
            " select id, %s, 300 from sale",
            customer,
            payment,
        )
        assert books.unapplied(payment) == []

    def test_the_functions_move_it(self, books: Books) -> None:
        customer = books.customer()
        payment, invoice = books.payment(customer, 800), books.invoice(customer, 1000)
        books.allocate(payment, {invoice: 300})
        assert books.unapplied(payment) == [500]
        books.run("select public.unallocate_payment(%s, null, 'wrong invoice')", payment)
        assert books.unapplied(payment) == [800]
        books.run("select public.void_payment(%s, 'bounced')", payment)
        assert books.unapplied(payment) == []
        assert books.broken() == []

    def test_many_payments_move_in_one_statement(self, books: Books) -> None:
        customer = books.customer()
        payments = [books.payment(customer, 100 + number) for number in range(5)]
        invoice = books.invoice(customer, 1000)
        books.run(
            "insert into public.invoice_payments (payment_id, invoice_id, amount_allocated)"
            " select unnest(%s::uuid[]), %s, 100",
            payments,
            invoice,
        )
        assert [books.unapplied(payment) for payment in payments] == [[], [1], [2], [3], [4]]
        books.run("delete from public.invoice_payments where invoice_id = %s", invoice)
        assert books.violations() == set()

    def test_notes_and_dates_move_nothing(self, books: Books) -> None:
        payment = books.payment(books.customer(), 800)
        before = books.rows("select ctid, id from public.unapplied_payments")
        books.run("update public.payments set notes = 'x', amount = 800 where id = %s", payment)
        assert books.rows("select ctid, id from public.unapplied_payments") == before


class TestTheAppsInsert:
    """The app writes the row after the payment, and finds it made."""

    @pytest.mark.parametrize("said", [800, 1, "1000000", -5, 0, "NaN", None])
    def test_one_row_comes_back_with_the_true_amount(self, app: Books, said: Money) -> None:
        customer = app.customer()
        payment = app.payment(customer, 800)
        assert insert_mirror(app, customer, payment, said) == [800]
        assert app.rows(MIRROR, payment) == [(customer, 800)]

    def test_its_id_reason_and_time_stand(self, app: Books) -> None:
        customer, name = app.customer(), uuid4()
        payment = app.payment(customer, 800)
        app.run(
            "insert into public.unapplied_payments (id, customer_id, payment_id, amount_unapplied,"
            " reason, created_at) values (%s, %s, %s, 800, 'advance', '2025-09-10')",
            name,
            customer,
            payment,
        )
        assert app.rows(
            "select id, reason, created_at::date::text from public.unapplied_payments"
            " where payment_id = %s",
            payment,
        ) == [(name, "advance", "2025-09-10")]

    def test_a_strangers_name_is_not_believed(self, app: Books) -> None:
        customer, stranger = app.customer(), app.customer()
        payment = app.payment(customer, 800)
        for said in (stranger, None, uuid4()):
            app.run(
                "insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied)"
                " values (%s, %s, 800)",
                said,
                payment,
            )
            assert app.rows(MIRROR, payment) == [(customer, 800)]

    def test_nothing_left_no_row(self, app: Books) -> None:
        customer = app.customer()
        payment, invoice = app.payment(customer, 800), app.invoice(customer, 1000)
        app.allocate(payment, {invoice: 800})
        assert insert_mirror(app, customer, payment, 800) == []
        assert insert_mirror(app, customer, app.payment(None, 800), 800) == []
        app.run("select public.void_payment(%s, 'bounced')", payment)
        assert insert_mirror(app, customer, payment, 800) == []
        assert app.violations() == set()

    def test_an_unknown_payment_meets_the_foreign_key(self, app: Books) -> None:
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            insert_mirror(app, app.customer(), uuid4(), 800)

    def test_no_payment_at_all(self, app: Books) -> None:
        with pytest.raises(psycopg.errors.NotNullViolation):
            app.run(
                "insert into public.unapplied_payments (customer_id, amount_unapplied)"
                " values (%s, 1)",
                app.customer(),
            )

    def test_several_rows_in_one_statement(self, app: Books) -> None:
        customer = app.customer()
        first, second = app.payment(customer, 800), app.payment(customer, 900)
        app.run(
            "insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied)"
            " select %s, unnest(%s::uuid[]), 5",
            customer,
            [first, second, first, first, second],
        )
        assert (app.unapplied(first), app.unapplied(second)) == ([800], [900])

    @pytest.mark.parametrize("otherwise", ["nothing", "update set amount_unapplied = 5"])
    def test_on_conflict_takes_nobodys_row_away(self, app: Books, otherwise: str) -> None:
        customer = app.customer()
        first, second = app.payment(customer, 800), app.payment(customer, 900)
        taken = app.value("select id from public.unapplied_payments where payment_id = %s", first)
        app.run(
            "insert into public.unapplied_payments (id, customer_id, payment_id, amount_unapplied)"
            f" values (%s, %s, %s, 5) on conflict (id) do {otherwise}",
            taken,
            customer,
            second,
        )
        assert (app.unapplied(first), app.unapplied(second)) == ([800], [900])


class TestOtherWriters:
    """Whatever else is written there changes nothing that is true."""

    @pytest.mark.parametrize(
        "statement",
        [
            "update public.unapplied_payments set amount_unapplied = 5",
            "update public.unapplied_payments set amount_unapplied = -5",
            "update public.unapplied_payments set amount_unapplied = 'NaN'",
            "update public.unapplied_payments set amount_unapplied = null, customer_id = null",
            "update public.unapplied_payments set customer_id = gen_random_uuid()",
            "update public.unapplied_payments set payment_id = gen_random_uuid()",
            "delete from public.unapplied_payments",
            (
                "insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied)"
                " select customer_id, payment_id, amount_unapplied from public.unapplied_payments"
            ),
            (
                "with gone as (delete from public.unapplied_payments returning *)"
                " insert into public.unapplied_payments select * from gone"
            ),
        ],
    )
    def test_a_statement_is_accepted_and_harmless(self, app: Books, statement: str) -> None:
        customer = app.customer()
        payments = [app.payment(customer, amount) for amount in (800, 900)]
        app.run(statement)
        assert [app.rows(MIRROR, payment) for payment in payments] == [
            [(customer, 800)],
            [(customer, 900)],
        ]
        assert app.violations() == set()

    def test_the_reason_is_the_callers(self, app: Books) -> None:
        payment = app.payment(app.customer(), 800)
        assert app.run("update public.unapplied_payments set reason = 'advance'") == 1
        assert app.rows("select payment_id, reason from public.unapplied_payments") == [
            (payment, "advance")
        ]

    def test_truncate_is_refused(self, books: Books) -> None:
        books.payment(books.customer(), 800)
        with ruled_out("unapplied_payments_mirrored"):
            books.run("truncate public.unapplied_payments")

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_a_trigger_of_somebody_else_cannot_break_it(self, books: Books, when: str) -> None:
        name = {"before": "a_writer", "after": "z_writer"}[when]
        books.run(
            "create function public.writer() returns trigger language plpgsql as $$ begin"
            " update public.unapplied_payments set amount_unapplied = 1 where payment_id = new.id;"
            " insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied)"
            " values (new.customer_id, new.id, 7); return null; end $$"
        )
        books.run(
            f"create trigger {name} after insert or update on public.payments"
            " for each row execute function public.writer()"
        )
        customer = books.customer()
        payment, invoice = books.payment(customer, 800), books.invoice(customer, 1000)
        assert books.unapplied(payment) == [800]
        books.allocate(payment, {invoice: 300})
        assert books.unapplied(payment) == [500]
        books.allocate(payment, {invoice: 500})
        assert books.unapplied(payment) == []


class TestDeletingAPayment:
    """The app's series, and the payment alone."""

    SERIES = (
        "delete from public.invoice_payments where payment_id = %s",
        "delete from public.opening_balance_payments where payment_id = %s",
        "delete from public.sales_payments where payment_id = %s",
        "delete from public.unapplied_payments where payment_id = %s",
        "delete from public.payments where id = %s",
    )

    @pytest.mark.parametrize("each_commits", [True, False])
    @pytest.mark.parametrize("allocated", [0, 300, 800])
    def test_the_series_of_the_app(
        self, database: Database, *, each_commits: bool, allocated: int
    ) -> None:
        app = Books(database.connect(role="authenticated", autocommit=each_commits))
        customer = app.customer()
        payment, invoice = app.payment(customer, 800), app.invoice(customer, 1000)
        if allocated:
            app.allocate_directly(payment, invoice, allocated)
        for statement in self.SERIES:
            app.run(statement, payment)
            if each_commits:
                assert app.violations() == set()
        assert app.value("select count(*) from public.payments") == 0
        assert app.value("select count(*) from public.unapplied_payments") == 0
        app.connection.commit()
        assert app.violations() == set()

    def test_a_payment_with_nothing_but_its_mirror_goes_alone(self, app: Books) -> None:
        payment = app.payment(app.customer(), 800)
        assert app.run("delete from public.payments where id = %s", payment) == 1
        assert app.value("select count(*) from public.unapplied_payments") == 0

    def test_an_allocated_one_meets_the_foreign_key_and_keeps_its_mirror(self, app: Books) -> None:
        customer = app.customer()
        payment, invoice = app.payment(customer, 800), app.invoice(customer, 1000)
        app.allocate_directly(payment, invoice, 300)
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            app.run("delete from public.payments where id = %s", payment)
        assert app.unapplied(payment) == [500]


def test_no_unique_constraint_is_needed_and_none_is_in_the_way(books: Books) -> None:
    """`on conflict (payment_id)` without one: no payment could be recorded for eight days."""
    unique = (
        "select count(*) from pg_index where indrelid = 'public.unapplied_payments'::regclass"
        " and indisunique and not indisprimary"
    )
    assert books.value(unique) == 0
    customer = books.customer()
    payment = books.payment(customer, 800)
    assert insert_mirror(books, customer, payment, 800) == [800]

    # the later step, once every row is true; deferred, since the app's row comes beside the other
    books.run(
        "alter table public.unapplied_payments add unique (payment_id)"
        " deferrable initially deferred"
    )
    other, invoice = books.payment(customer, 900), books.invoice(customer, 1000)
    assert insert_mirror(books, customer, other, 900) == [900]
    books.allocate(other, {invoice: 100})
    assert books.unapplied(other) == [800]
    assert books.run("delete from public.payments where id = %s", payment) == 1


def test_a_failed_writer_leaves_the_mirror_as_it_was(database: Database, books: Books) -> None:
    customer = books.customer()
    payment, invoice = books.payment(customer, 800), books.invoice(customer, 1000)
    session = Books(database.connect())
    session.allocate(payment, {invoice: 300})
    assert session.unapplied(payment) == [500]
    session.connection.rollback()
    assert books.unapplied(payment) == [800]
