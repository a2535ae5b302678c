"""Gap 005 comes to rows that are there, goes without losing one, and comes again."""

from uuid import UUID

import psycopg
import pytest

from dairy.books import Books, ruled_out, table_rows
from dairy.legacy import offend_everywhere
from dairy.scripts import dump, dump_rows, psql, run_file
from dairy.settling import Settling
from pymilk.database.catalog import read_catalog
from pymilk.database.connection import connect
from pymilk.database.ledger import prepare_ledger
from pymilk.deploy.change.archive import find_losses, find_vanishing, keep
from pymilk.deploy.change.give_back import give_back_to
from pymilk.project.migrations import Migration, load_migrations
from support.databases import ROOT, Database

MIGRATIONS = load_migrations(ROOT / "supabase")
GAP = next(each for each in MIGRATIONS if each.gap == "005")
UP, DOWN, VERIFY = (
    ROOT / "supabase" / folder / f"{GAP.stem}.sql"
    for folder in ("migrations", "rollbacks", "verify")
)
TABLES = [
    "public.customers",
    "public.sales",
    "public.payments",
    "public.opening_balance_payments",
    "public.sales_payments",
    "public.invoice_metadata",
    "public.invoice_line_items",
    "public.unapplied_payments",
]


def before_the_gap(database: Database) -> tuple[Books, UUID, UUID, dict[str, UUID]]:
    """Customer, payment and sales as the app's own writes leave them; statuses forgotten."""
    books = Settling(database.connect(autocommit=True))
    customer = books.customer(opening_balance=500)
    payment, invoice = books.payment(customer, 800), books.invoice(customer, 100)
    sales = {name: books.sale(customer, 100) for name in ("paid", "billed", "settled", "free")}
    books.pay_opening_directly(payment, customer, 300)
    books.pay_sale_directly(payment, sales["paid"], 100)
    settled = books.value(
        "insert into public.invoice_metadata (customer_id, invoice_date, period_start, period_end,"
        " total_amount, invoice_status)"
        " values (%s, '2024-09-01', '2024-08-01', '2024-08-31', 100, 'sent') returning id",
        customer,
    )
    books.bill(invoice, sales["billed"])
    books.allocate_directly(payment, settled, 100)
    books.bill(settled, sales["settled"])  # after the invoice was paid: nobody completed it
    return books, customer, payment, sales


def test_counters_and_statuses_are_filled_from_what_is_there(dairy_004: Database) -> None:
    books, customer, _, sales = before_the_gap(dairy_004)
    kept = table_rows(books.connection, TABLES[2:])
    found = books.violations()
    assert found == {"sales_paid_true"}

    said = run_file(dairy_004.url, UP)

    assert "opening balances paid: 1, sales paid: 1, statuses of sales corrected: 3" in said
    settling = Settling(books.connection)
    assert settling.opening_paid(customer) == 300
    assert {name: settling.sale_state(sale) for name, sale in sales.items()} == {
        "paid": (100, "Completed"),
        "billed": (0, "Billed"),
        "settled": (0, "Completed"),
        "free": (0, "Pending"),
    }
    assert table_rows(books.connection, TABLES[2:]) == kept
    assert books.broken() == []
    assert books.violations() == set()
    with ruled_out("customers_paid_within_opening_balance"):
        settling.pay_opening_directly(books.payment(customer, 300), customer, 201)
    run_file(dairy_004.url, DOWN)
    assert books.violations() == found


def test_on_the_demo_dairy_there_is_nothing_to_correct(dairy_004: Database) -> None:
    said = run_file(dairy_004.url, UP)
    assert "opening balances paid: 0, sales paid: 0, statuses of sales corrected: 0" in said
    assert Books(dairy_004.connect()).broken() == []


def test_offenders_are_listed_and_left_alone(dairy: Database) -> None:
    books = Books(dairy.connect(autocommit=True))
    offend_everywhere(books)
    for migration in MIGRATIONS[1 : MIGRATIONS.index(GAP)]:
        run_file(dairy.url, ROOT / "supabase" / "migrations" / f"{migration.stem}.sql")
    rows = table_rows(
        books.connection, ["public.opening_balance_payments", "public.sales_payments"]
    )

    run_file(dairy.url, UP)

    assert (
        {
            "opening_balances_within_balance",
            "settlements_within_one_customer",
            "sales_paid_whole",
        }
        <= {row[0] for row in books.broken()}
        <= books.violations()
    )
    assert rows == table_rows(
        books.connection, ["public.opening_balance_payments", "public.sales_payments"]
    )
    books.run("update public.customers set address = 'looked at'")
    books.run("update public.sales set notes = 'looked at'")
    books.run("update public.opening_balance_payments set allocated_at = now()")
    with pytest.raises(psycopg.errors.CheckViolation):
        books.run("update public.opening_balance_payments set amount = amount + 1")
    books.run("delete from public.opening_balance_payments")
    books.run("delete from public.sales_payments")
    mine = {path.stem for path in (ROOT / "sql" / "invariants").glob("*.sql")} & {
        "opening_balances_within_balance",
        "opening_balances_paid_true",
        "settlements_within_one_customer",
        "sales_paid_whole",
        "sales_paid_true",
    }
    assert len(mine) == 5
    assert not mine & books.violations()


def test_going_keeps_every_row_and_gives_the_app_its_tables_back(dairy_004: Database) -> None:
    books, customer, payment, sales = before_the_gap(dairy_004)
    schema, rows = dump(dairy_004.url, "--schema-only"), dump_rows(dairy_004.url)
    run_file(dairy_004.url, UP)
    run_file(dairy_004.url, DOWN)
    assert dump(dairy_004.url, "--schema-only") == schema
    assert dump_rows(dairy_004.url) == rows

    run_file(dairy_004.url, UP)
    settling = Settling(books.connection)
    settling.pay_opening(payment, customer, 50)
    settling.run("delete from public.sales_payments where sales_id = %s", sales["paid"])
    settling.pay_sales(payment, sales["free"])
    kept = table_rows(books.connection, TABLES[2:])
    run_file(dairy_004.url, DOWN)

    assert table_rows(books.connection, TABLES[2:]) == kept
    assert books.rows(
        "select id, payment_status from public.sales where customer_id = %s order by 2, id",
        customer,
    ) == sorted(
        [
            (sales["free"], "Completed"),  # moved since
            (sales["paid"], "Pending"),
            (sales["billed"], "Pending"),  # as it was found
            (sales["settled"], "Pending"),
        ],
        key=lambda row: (row[1], row[0]),
    )
    settling.pay_opening_directly(books.payment(customer, 300), customer, 300)  # the weakness


def test_what_a_rollback_takes_comes_back_and_is_true(dairy_004: Database) -> None:
    run_file(dairy_004.url, UP)
    settling = Settling(dairy_004.connect(autocommit=True))
    customer, other = (settling.customer(opening_balance=500) for _ in range(2))
    sales = [settling.sale(customer, 100) for _ in range(2)]
    payment = settling.payment(customer, 800)
    settling.pay_opening(payment, customer, 300)
    settling.pay_sales(payment, *sales)
    settling.record(customer_id=other, amount=70, opening_balance=70)
    journal = "select * from private.settlement_journal order by id"
    written, untouched = settling.rows(journal), table_rows(settling.connection, ["public.sales"])

    _roll_back_and_keep(dairy_004, GAP)
    # meanwhile the app goes on, without counters
    settling.run("delete from public.opening_balance_payments where payment_id = %s", payment)
    settling.run("delete from public.sales_payments where sales_id = %s", sales[1])
    settling.run("update public.sales set payment_status = 'Pending' where id = %s", sales[1])
    with connect(dairy_004.url, purpose="test") as session, session.transaction():
        session.execute(UP.read_bytes())
        given = give_back_to(session, GAP)

    assert given["private.settlement_journal"] == len(written)
    assert settling.rows(journal) == written
    assert settling.opening_paid(customer) == 0
    assert settling.opening_paid(other) == 70
    assert [settling.sale_state(sale) for sale in sales] == [(100, "Completed"), (0, "Pending")]
    assert settling.broken() == []
    assert table_rows(settling.connection, ["public.sales"]) != untouched
    settling.pay_opening(payment, customer, 500)
    assert settling.value(f"select max(id) from ({journal}) as j") > len(written)
    connection = dairy_004.connect()
    connection.execute(VERIFY.read_bytes())


def _roll_back_and_keep(database: Database, migration: Migration) -> None:
    """What the toolkit's rollback with --archive does to the rows."""
    with connect(database.url, purpose="test") as session:
        prepare_ledger(session)
        after = read_catalog(session)
        with session.transaction(force_rollback=True):
            session.execute(DOWN.read_bytes())
            before = read_catalog(session)
        with session.transaction():
            losses = find_losses(session, find_vanishing(session, before, after))
            assert {loss.table.qualified for loss in losses} == {
                "private.settlement_journal",
                "public.customers",
                "public.sales",
            }
            keep(session, migration.version, losses)
            session.execute(DOWN.read_bytes())


def test_a_restore_of_the_rows_alone_ends_right(dairy_005: Database, baseline: Database) -> None:
    books = Settling(dairy_005.connect(autocommit=True))
    customer = books.customer(opening_balance=500)
    payment, invoice = books.payment(customer, 800), books.invoice(customer, 100)
    books.with_key()
    sales = [books.sale(customer, 100) for _ in range(4)]
    books.pay_opening(payment, customer, 300)
    books.pay_sales(payment, sales[0])
    books.pay_sale_directly(payment, sales[1], 100)
    books.bill(invoice, sales[2])
    books.allocate(payment, {invoice: 100})
    tables = [*TABLES, "private.settlement_journal", "private.request_keys"]
    for migration in MIGRATIONS[1 : MIGRATIONS.index(GAP) + 1]:
        run_file(baseline.url, ROOT / "supabase" / "migrations" / f"{migration.stem}.sql")

    psql(
        baseline.url,
        script=dump(
            dairy_005.url,
            "--data-only",
            "--schema=public",
            "--schema=private",
            "--exclude-table=private.privileges_before",  # of the database, not of the dairy
        ),
    )

    restored = Settling(baseline.connect(autocommit=True))
    assert table_rows(restored.connection, tables) == table_rows(books.connection, tables)
    assert restored.broken() == []
    assert restored.opening_paid(customer) == 300


CARELESS = """
  create or replace function private.allocate_to_opening_balance(
    p_payment_id uuid, p_customer_id uuid, p_amount numeric
  )
  returns numeric language sql as $$
    insert into public.opening_balance_payments (payment_id, customer_id, amount)
    values ($1, $2, $3) returning 0.0
  $$
"""

SABOTAGE = [
    *(
        f"drop trigger {trigger} on public.{table}"
        for table, triggers in {
            "opening_balance_payments": ("count_on_insert", "count_on_update", "count_on_delete"),
            "sales_payments": ("count_on_insert", "count_on_delete"),
            "customers": (
                "derive_opening_balance_paid_on_insert",
                "derive_opening_balance_paid_on_update",
                "refuse_opening_balance_on_update",
                "refuse_overpayment",
            ),
            "sales": (
                "derive_sale_on_insert",
                "derive_sale_on_update",
                "refuse_total_on_update",
                "refuse_total_of_paid",
                "refuse_customer_change",
            ),
            "invoice_line_items": ("bill_on_insert",),
        }.items()
        for trigger in triggers
    ),
    "drop trigger refuse_change on private.settlement_journal",
    "grant execute on function public.record_payment_atomic to anon",
    "revoke execute on function public.auto_allocate_payment from service_role",
    "revoke execute on function public.allocate_payment_to_sales_atomic from authenticated",
    "grant select on private.settlement_journal to authenticated",
    "alter table private.settlement_journal disable row level security",
    "create function public.record_payment_atomic(text) returns int language sql as 'select 1'",
    "drop function public.allocate_opening_balance_atomic",
    CARELESS,
]


@pytest.mark.parametrize("sabotage", SABOTAGE)
def test_the_verification_fails_when_something_is_not_in_effect(
    dairy_005: Database, sabotage: str
) -> None:
    connection = dairy_005.connect()
    connection.execute(VERIFY.read_bytes())
    connection.rollback()
    connection.execute(sabotage.encode())
    with pytest.raises(psycopg.Error):
        connection.execute(VERIFY.read_bytes())
