"""What must always be true holds under direct table writes too.

Each write is tried twice: with gap 001 fixed, where a rule of that name refuses it, and on the
baseline, where it goes through and leaves a violation behind (so the test can fail).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from dairy.books import (
    FROM_A_TRIGGER_OF_ONES_OWN,
    INVARIANTS,
    Books,
    Rupees,
    ruled_out,
    table_rows,
)
from pymilk.database.cluster import SUPERUSER
from support.databases import Database


@dataclass(frozen=True)
class Scene:
    """A customer with a payment of 800 (300 of it allocated) and an invoice of 1000."""

    books: Books
    customer: UUID
    payment: UUID
    invoice: UUID


def scene(books: Books) -> Scene:
    customer = books.customer(opening_balance=5000)
    payment, invoice = books.payment(customer, 800), books.invoice(customer, 1000)
    books.allocate_directly(payment, invoice, 300)
    return Scene(books, customer, payment, invoice)


Write = Callable[[Scene], object]


def allocate_beyond_the_payment(at: Scene) -> None:
    at.books.allocate_directly(at.payment, at.books.invoice(at.customer, 1000), "500.01")


def allocate_beyond_the_invoice(at: Scene) -> None:
    at.books.allocate_directly(at.books.payment(at.customer, 5000), at.invoice, "700.01")


def raise_an_allocation_beyond_the_payment(at: Scene) -> None:
    at.books.run("update public.invoice_payments set amount_allocated = 800.01")


def move_an_allocation_to_a_smaller_payment(at: Scene) -> None:
    at.books.run(
        "update public.invoice_payments set payment_id = %s", at.books.payment(at.customer, 299)
    )


def pay_the_opening_balance_beyond_the_payment(at: Scene) -> None:
    at.books.run(
        "insert into public.opening_balance_payments (customer_id, payment_id, amount)"
        " values (%s, %s, 500.01)",
        at.customer,
        at.payment,
    )


def pay_a_sale_beyond_the_payment(at: Scene) -> None:
    at.books.run(
        "with sale as (insert into public.sales (customer_id, product_id, quantity, unit_price,"
        " total_amount, sale_type, payment_status) select %s, id, 1, 600, 600, 'Credit', 'Pending'"
        " from public.products limit 1 returning id)"
        " insert into public.sales_payments (sales_id, payment_id, amount_allocated)"
        " select id, %s, 500.01 from sale",
        at.customer,
        at.payment,
    )


def lower_the_amount_below_what_is_allocated(at: Scene) -> None:
    at.books.run("update public.payments set amount = 299.99 where id = %s", at.payment)


def lower_the_total_below_what_is_paid(at: Scene) -> None:
    at.books.run(
        "update public.invoice_metadata set total_amount = 299.99 where id = %s", at.invoice
    )


def cancel_an_invoice_that_holds_money(at: Scene) -> None:
    at.books.run(
        "update public.invoice_metadata set invoice_status = 'cancelled' where id = %s", at.invoice
    )


def pay_a_cancelled_invoice(at: Scene) -> None:
    at.books.allocate_directly(
        at.payment, at.books.invoice(at.customer, 100, status="cancelled"), 10
    )


def pay_a_strangers_invoice(at: Scene) -> None:
    at.books.allocate_directly(at.payment, at.books.invoice(at.books.customer(), 100), 10)


def allocate_a_payment_of_nobody(at: Scene) -> None:
    at.books.allocate_directly(at.books.payment(None, 100), at.invoice, 10)


def give_an_allocated_payment_to_another_customer(at: Scene) -> None:
    at.books.run(
        "update public.payments set customer_id = %s where id = %s",
        at.books.customer(),
        at.payment,
    )


def give_a_paid_invoice_to_another_customer(at: Scene) -> None:
    at.books.run(
        "update public.invoice_metadata set customer_id = %s where id = %s",
        at.books.customer(),
        at.invoice,
    )


def record_a_payment_of_nan(at: Scene) -> None:
    at.books.payment(at.customer, "NaN")


def record_a_payment_of_infinity(at: Scene) -> None:
    at.books.payment(at.customer, "Infinity")


def record_a_payment_of_nothing(at: Scene) -> None:
    at.books.payment(at.customer, 0)


def record_a_negative_payment(at: Scene) -> None:
    at.books.payment(at.customer, -5)


def record_a_fraction_of_a_paisa(at: Scene) -> None:
    at.books.payment(at.customer, "10.005")


def record_ten_thousand_million(at: Scene) -> None:
    at.books.payment(at.customer, 10**10)


def edit_an_amount_to_a_fraction_of_a_paisa(at: Scene) -> None:
    at.books.run("update public.payments set amount = 800.001 where id = %s", at.payment)


def issue_an_invoice_of_nan(at: Scene) -> None:
    at.books.invoice(at.customer, "NaN")


def issue_a_negative_invoice(at: Scene) -> None:
    at.books.invoice(at.customer, -1)


def allocate_nan(at: Scene) -> None:
    at.books.allocate_directly(at.payment, at.books.invoice(at.customer, 1000), "NaN")


def allocate_a_fraction_of_a_paisa(at: Scene) -> None:
    at.books.allocate_directly(at.payment, at.books.invoice(at.customer, 1000), "0.001")


def allocate_from_no_payment(at: Scene) -> None:
    at.books.run(
        "insert into public.invoice_payments (invoice_id, amount_allocated) values (%s, 5)",
        at.invoice,
    )


def allocate_to_no_invoice(at: Scene) -> None:
    at.books.run(
        "insert into public.invoice_payments (payment_id, amount_allocated) values (%s, 5)",
        at.payment,
    )


RULES: list[tuple[Write, str]] = [
    (allocate_beyond_the_payment, "payments_applied_within_amount"),
    (allocate_beyond_the_invoice, "invoice_metadata_paid_within_total"),
    (raise_an_allocation_beyond_the_payment, "payments_applied_within_amount"),
    (move_an_allocation_to_a_smaller_payment, "payments_applied_within_amount"),
    (pay_the_opening_balance_beyond_the_payment, "payments_applied_within_amount"),
    (pay_a_sale_beyond_the_payment, "payments_applied_within_amount"),
    (lower_the_amount_below_what_is_allocated, "payments_applied_within_amount"),
    (lower_the_total_below_what_is_paid, "invoice_metadata_paid_within_total"),
    (cancel_an_invoice_that_holds_money, "invoice_metadata_cancelled_holds_nothing"),
    (pay_a_cancelled_invoice, "invoice_metadata_cancelled_holds_nothing"),
    (pay_a_strangers_invoice, "invoice_payments_same_customer"),
    (allocate_a_payment_of_nobody, "payments_allocated_have_customer"),
    (give_an_allocated_payment_to_another_customer, "payments_customer_fixed"),
    (give_a_paid_invoice_to_another_customer, "invoice_metadata_customer_fixed"),
    (record_a_payment_of_nan, "payments_amount_valid"),
    (record_a_payment_of_infinity, "payments_amount_valid"),
    (record_a_payment_of_nothing, "payments_amount_valid"),
    (record_a_negative_payment, "payments_amount_valid"),
    (record_a_fraction_of_a_paisa, "payments_amount_valid"),
    (record_ten_thousand_million, "payments_amount_valid"),
    (edit_an_amount_to_a_fraction_of_a_paisa, "payments_amount_valid"),
    (issue_an_invoice_of_nan, "invoice_metadata_total_valid"),
    (issue_a_negative_invoice, "invoice_metadata_total_valid"),
    (allocate_nan, "invoice_payments_amount_valid"),
    (allocate_a_fraction_of_a_paisa, "invoice_payments_amount_valid"),
    (allocate_from_no_payment, "invoice_payments_two_sided"),
    (allocate_to_no_invoice, "invoice_payments_two_sided"),
]


def test_every_write_is_refused_by_its_rule_and_leaves_nothing(dairy_001: Database) -> None:
    connection = dairy_001.connect()
    for write, rule in RULES:
        at = scene(Books(connection))
        before = at.books.payment_totals(at.payment), at.books.invoice_totals(at.invoice)
        try:
            with ruled_out(rule), connection.transaction():
                write(at)
        except AssertionError as error:
            pytest.fail(f"{write.__name__}: {error}")
        assert (at.books.payment_totals(at.payment), at.books.invoice_totals(at.invoice)) == before
        assert at.books.violations() == set(), write.__name__
        assert at.books.broken() == [], write.__name__
        connection.rollback()


def test_on_the_baseline_every_one_of_them_goes_through(dairy: Database) -> None:
    connection = dairy.connect()
    for write, _ in RULES:
        at = scene(Books(connection))
        before = at.books.violations()
        write(at)
        assert at.books.violations() - before, write.__name__
        connection.rollback()


def test_a_callers_derived_values_are_neither_an_error_nor_believed(books: Books) -> None:
    at = scene(books)
    books.run(
        "update public.payments set amount_applied = 0, amount_unapplied = 800,"
        " allocation_status = 'unapplied', notes = 'by the app' where id = %s",
        at.payment,
    )
    books.run(
        "update public.invoice_metadata set amount_paid = 1000, amount_outstanding = 0,"
        " invoice_status = 'paid', last_payment_date = '2020-01-01' where id = %s",
        at.invoice,
    )
    assert books.payment_totals(at.payment) == (300, 500, "partially_applied")
    assert books.invoice_totals(at.invoice) == (300, 700, "partially_paid")
    inserted = books.value(
        "insert into public.payments (customer_id, amount, payment_date, amount_applied,"
        " amount_unapplied, allocation_status) values (%s, 70, '2025-09-10', 70, 0,"
        " 'fully_applied') returning id",
        at.customer,
    )
    assert isinstance(inserted, UUID)
    assert books.payment_totals(inserted) == (0, 70, "unapplied")
    assert books.broken() == []


def test_draft_and_cancelled_are_the_callers_intent(books: Books) -> None:
    customer = books.customer()
    for intent, said, then in (
        ("draft", "paid", "draft"),
        ("draft", "overdue", "draft"),
        ("draft", "sent", "sent"),
        ("cancelled", "partially_paid", "cancelled"),
        ("cancelled", "sent", "sent"),
        ("sent", "paid", "sent"),
        ("sent", "draft", "draft"),
        ("sent", "cancelled", "cancelled"),
    ):
        invoice = books.invoice(customer, 100, status=intent)
        books.run(
            "update public.invoice_metadata set invoice_status = %s where id = %s", said, invoice
        )
        assert books.invoice_totals(invoice).status == then, (intent, said)


@pytest.mark.parametrize("due", ["2025-09-05", "2999-01-01"])
def test_a_draft_is_issued_by_an_upsert_as_by_an_update(books: Books, due: str) -> None:
    """What it says is what the insert's own trigger made of it, also when it is due already."""
    customer = books.customer()
    updated, upserted = (books.invoice(customer, 50, status="draft") for _ in range(2))
    books.run(
        "update public.invoice_metadata set total_amount = 100, invoice_status = 'sent',"
        " due_date = %s where id = %s",
        due,
        updated,
    )
    books.run(
        "insert into public.invoice_metadata (id, customer_id, invoice_date, period_start,"
        " period_end, total_amount, invoice_status, due_date)"
        " select id, customer_id, invoice_date, period_start, period_end, 100, 'sent', %s"
        " from public.invoice_metadata where id = %s"
        " on conflict (id) do update set total_amount = excluded.total_amount,"
        " invoice_status = excluded.invoice_status, due_date = excluded.due_date",
        due,
        upserted,
    )
    assert books.invoice_totals(upserted) == books.invoice_totals(updated)
    assert books.value("select public.calculate_customer_outstanding(%s)", customer) == 200
    assert books.broken() == []


def test_totals_follow_every_kind_of_direct_write(books: Books) -> None:
    at = scene(books)
    second = books.invoice(at.customer, 1000)
    other = books.payment(at.customer, 400)

    def seen() -> list[tuple[Rupees, ...]]:
        return [
            (books.payment_totals(at.payment).applied, books.payment_totals(other).applied),
            (books.invoice_totals(at.invoice).paid, books.invoice_totals(second).paid),
        ]

    books.run("update public.invoice_payments set amount_allocated = 350")
    assert seen() == [(350, 0), (350, 0)]
    books.run("update public.invoice_payments set invoice_id = %s", second)
    assert seen() == [(350, 0), (0, 350)]
    books.run("update public.invoice_payments set payment_id = %s", other)
    assert seen() == [(0, 350), (0, 350)]
    books.run("update public.invoice_payments set notes = 'seen'")
    assert seen() == [(0, 350), (0, 350)]
    books.run(
        "insert into public.invoice_payments (payment_id, invoice_id, amount_allocated)"
        " values (%s, %s, 100), (%s, %s, 50)",
        at.payment,
        at.invoice,
        other,
        at.invoice,
    )
    assert seen() == [(100, 400), (150, 350)]
    books.run(
        "insert into public.invoice_payments (payment_id, invoice_id, amount_allocated)"
        " values (%s, %s, 900) on conflict (invoice_id, payment_id)"
        " do update set amount_allocated = 120",
        at.payment,
        at.invoice,
    )
    assert seen() == [(120, 400), (170, 350)]
    books.run("delete from public.invoice_payments")
    assert seen() == [(0, 0), (0, 0)]
    assert books.broken() == []


def test_truncating_what_is_counted_is_refused(books: Books) -> None:
    scene(books)
    for table in ("invoice_payments", "opening_balance_payments", "sales_payments"):
        with ruled_out(f"{table}_counted"):
            books.run(f"truncate public.{table}")
    with ruled_out("invoice_payments_counted"):
        books.run("truncate public.payments cascade")


def test_the_journal_is_only_ever_appended_to(books: Books) -> None:
    scene(books)
    for statement in (
        "update private.allocation_journal set amount_change = 1",
        "delete from private.allocation_journal",
        "truncate private.allocation_journal",
    ):
        with ruled_out("allocation_journal_append_only"):
            books.run(statement)


def test_a_date_of_its_own_keeps_no_allocation_of_the_apps_out_of_the_journal(
    fixed: Database, books: Books
) -> None:
    """Only the owner restores rows, whose entries are restored by themselves."""
    customer = books.customer()
    payment, invoice = books.payment(customer, 100), books.invoice(customer, 100)
    insert = (
        "insert into public.invoice_payments (payment_id, invoice_id, amount_allocated, created_at)"
        " values (%s, %s, 100, '2025-09-10')"
    )
    journal = "select amount_change, recorded_by from private.allocation_journal"
    app = Books(fixed.connect(role="authenticated", autocommit=True))
    app.run(insert, payment, invoice)
    assert books.rows(journal) == [(100, "authenticated")]

    books.run("delete from public.invoice_payments")
    entered = books.rows(journal)
    books.run(insert, payment, invoice)
    assert books.rows(journal) == entered
    assert books.rows("select created_at::date::text from public.invoice_payments") == [
        ("2025-09-10",)
    ]


def test_a_bulk_insert_counts_every_row(books: Books) -> None:
    customer = books.customer()
    payment = books.payment(customer, 1000)
    books.run(
        "with made as (insert into public.invoice_metadata (customer_id, invoice_date,"
        " period_start, period_end, total_amount, invoice_status)"
        " select %s, '2025-09-01', day, day, 10, 'sent'"
        " from generate_series(date '2020-01-01', '2020-04-09', '1 day') as day returning id)"
        " insert into public.invoice_payments (invoice_id, payment_id, amount_allocated)"
        " select id, %s, 10 from made",
        customer,
        payment,
    )
    assert books.payment_totals(payment) == (1000, 0, "fully_applied")
    assert books.value("select count(*) from public.invoice_metadata where invoice_status = 'paid'")
    assert books.broken() == []


def test_anon_meets_the_same_rules(dairy_001: Database) -> None:
    """Until access is hardened anon may write here, with the defaults of many a project."""
    books = Books(dairy_001.connect(autocommit=True))
    at = scene(books)
    anon = Books(dairy_001.connect(role="anon", autocommit=True))
    other = books.invoice(at.customer, 5000)
    with ruled_out("payments_applied_within_amount"):
        anon.allocate_directly(at.payment, other, 501)
    anon.allocate_directly(at.payment, other, 500)
    assert books.payment_totals(at.payment) == (800, 0, "fully_applied")


def test_rules_refuse_through_psycopg_as_check_violations(books: Books) -> None:
    at = scene(books)
    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        lower_the_amount_below_what_is_allocated(at)
    diagnostic = caught.value.diag
    assert (diagnostic.table_name, diagnostic.column_name) == ("payments", "amount_applied")
    assert diagnostic.message_primary == "a payment cannot be allocated beyond its amount"


def test_every_rule_that_a_trigger_names_is_tried_here(dairy_001: Database) -> None:
    named = {
        name
        for (name,) in dairy_001.connect().execute(
            "select distinct split_part(encode(tgargs, 'escape'), '\\000', 1) from pg_trigger"
            " where tgfoid = 'private.refuse_row()'::regprocedure"
            " union select (regexp_matches(f.prosrc, $$constraint = '(\\w+)'$$, 'g'))[1]"
            " from pg_trigger as t inner join pg_proc as f on t.tgfoid = f.oid"
            " where f.proname ~ '^refuse_' and f.pronamespace = 'private'::regnamespace"
        )
    }
    same_as_tried = {"opening_balance_payments", "sales_payments"}
    tried = {rule for _, rule in RULES} - {"invoice_payments_same_customer"}
    assert {rule for rule in named if not rule.startswith(tuple(same_as_tried))} == tried


@pytest.mark.parametrize("path", INVARIANTS, ids=[path.stem for path in INVARIANTS])
def test_an_invariant_says_what_it_means_and_what_to_do(path: Path) -> None:
    meaning, _, remedy = path.read_text().partition("\n-- do: ")
    assert meaning.startswith("-- ")
    assert all(line.startswith("-- ") for line in meaning.splitlines())
    assert remedy.splitlines()[0].endswith(".")


@pytest.mark.parametrize(
    "attack",
    [
        "update public.payments set amount_applied = 0, amount_unapplied = 100",
        "update public.payments set allocation_status = 'unapplied', amount_applied = 50",
        "update public.invoice_metadata set amount_paid = 0, invoice_status = 'sent'",
    ],
)
@pytest.mark.parametrize("role", ["authenticated", "service_role"])
def test_inside_a_trigger_of_its_own_a_role_is_believed_no_more(
    fixed: Database, books: Books, role: str, attack: str
) -> None:
    customer = books.customer()
    payment, invoice = books.payment(customer, 100), books.invoice(customer, 100)
    books.allocate(payment, {invoice: 100})
    somebody = fixed.connect(role=role, autocommit=True)

    somebody.execute(FROM_A_TRIGGER_OF_ONES_OWN.format(attack=attack).encode())

    assert books.payment_totals(payment) == (100, 0, "fully_applied")
    assert books.invoice_totals(invoice) == (100, 0, "paid")
    assert books.broken() == []


def test_a_role_that_nobody_foresaw_writes_and_is_not_believed_either(
    fixed: Database, books: Books
) -> None:
    books.payment(books.customer(), 100)
    session = fixed.connect(user=SUPERUSER, autocommit=True)

    with session.transaction(force_rollback=True):  # a role is the whole server's
        session.execute("create role a_tool_of_theirs bypassrls")
        session.execute("grant select, update on public.payments to a_tool_of_theirs")
        session.execute("set local role a_tool_of_theirs")
        written = session.execute(
            "update public.payments set notes = 'seen', amount_applied = 100, amount_unapplied = 0"
            " returning notes, amount_applied, amount_unapplied"
        ).fetchall()

    assert written == [("seen", 0, 100)]


@pytest.mark.parametrize(
    "attack",
    [
        "update public.customers set opening_balance_paid = 0 where opening_balance_paid > 0",
        "update public.sales set amount_paid = 0, payment_status = 'Pending' where amount_paid > 0",
        "update public.invoice_line_items set bills = false",
    ],
)
def test_nor_is_it_about_balances_sales_and_lines(dairy_hardened: Database, attack: str) -> None:
    books = Books(dairy_hardened.connect(autocommit=True))
    customer = books.customer(opening_balance=100)
    payment = books.payment(customer, 100)
    books.run(
        "insert into public.opening_balance_payments (customer_id, payment_id, amount)"
        " values (%s, %s, 60)",
        customer,
        payment,
    )
    sales = [
        books.value(
            "insert into public.sales (customer_id, product_id, quantity, unit_price, total_amount,"
            " sale_type, payment_status) select %s, id, 1, 40, 40, 'Credit', 'Pending'"
            " from public.products limit 1 returning id",
            customer,
        )
        for _ in range(2)
    ]
    books.run(
        "insert into public.sales_payments (sales_id, payment_id, amount_allocated)"
        " values (%s, %s, 40)",
        sales[0],
        payment,
    )
    books.run(
        "insert into public.invoice_line_items (invoice_id, line_item_type, sale_id, line_total)"
        " values (%s, 'manual_sale', %s, 40)",
        books.invoice(customer, 40),
        sales[1],
    )
    kept = table_rows(books.connection, ["public.customers", "public.sales"])
    lines = table_rows(books.connection, ["public.invoice_line_items"])
    somebody = dairy_hardened.connect(role="authenticated", autocommit=True)

    somebody.execute(FROM_A_TRIGGER_OF_ONES_OWN.format(attack=attack).encode())

    assert table_rows(books.connection, ["public.customers", "public.sales"]) == kept
    assert table_rows(books.connection, ["public.invoice_line_items"]) == lines
    assert books.broken() == []
