"""Gap 006 coming and going: rows that offend, the archive, a restore of the rows, its canary."""

from collections.abc import Callable

import psycopg
import pytest

from dairy.billing import Billing
from dairy.books import Books, refused, table_rows
from dairy.legacy import offend_everywhere
from dairy.scripts import dump, dump_rows, psql, run_file
from pymilk.database.catalog import read_catalog
from pymilk.database.connection import connect
from pymilk.database.ledger import prepare_ledger
from pymilk.deploy.change.archive import find_losses, find_vanishing, keep
from pymilk.deploy.change.give_back import give_back_to
from pymilk.project.migrations import load_migrations
from support.databases import MIGRATIONS, ROOT, Database

GAP = next(each for each in load_migrations(ROOT / "supabase") if each.gap == "006")
MIGRATION = MIGRATIONS / f"{GAP.stem}.sql"
ROLLBACK = ROOT / "supabase" / "rollbacks" / f"{GAP.stem}.sql"
VERIFY = ROOT / "supabase" / "verify" / f"{GAP.stem}.sql"
TABLES = [
    f"public.{table}"
    for table in (
        "invoice_metadata",
        "invoice_line_items",
        "invoice_sales_mapping",
        "audit_trail",
        "sales",
        "payments",
        "invoice_payments",
        "sales_payments",
    )
]


def line(books: Books, invoice: object, sale: object = None, delivery: object = None) -> None:
    """A line as the app writes it before the gap."""
    books.run(
        "insert into public.invoice_line_items (invoice_id, sale_id, delivery_id, line_total)"
        " values (%s, %s, %s, %s)",
        invoice,
        sale,
        delivery,
        70 if sale else 50,
    )


class TestRowsThatAreThere:
    """Before the gap anybody could bill anything twice."""

    def test_the_oldest_bills_the_others_stay_and_are_listed(self, dairy_005: Database) -> None:
        books = Billing(dairy_005.connect(autocommit=True))
        customer = books.customer()
        sale, delivery = books.sale(customer, 70), books.delivery(customer)
        first, second, cancelled = (books.invoice(customer, 120) for _ in range(3))
        for invoice in (first, second, cancelled):
            line(books, invoice, sale=sale)
            line(books, invoice, delivery=delivery)
        line(books, None)
        books.cancel(cancelled)
        before = dump_rows(dairy_005.url)
        broken_before = books.violations()

        run_file(dairy_005.url, MIGRATION)

        assert books.bills(first) == [True, True]
        assert books.bills(second) == books.bills(cancelled) == [False, False]
        assert books.mapped(sale) == {first: True}
        assert {row[:3] for row in books.broken()} == {
            ("billed_once", "sale", str(sale)),
            ("billed_once", "delivery", str(delivery)),
        }
        assert books.violations() == broken_before == {"billed_once"}
        run_file(dairy_005.url, ROLLBACK)
        assert dump_rows(dairy_005.url) == before

    def test_when_the_one_that_bills_goes_the_next_takes_over(self, dairy_005: Database) -> None:
        books = Billing(dairy_005.connect(autocommit=True))
        customer = books.customer()
        sale, delivery = books.sale(customer, 70), books.delivery(customer)
        invoices = [books.invoice(customer, 120) for _ in range(3)]
        for invoice in invoices:
            line(books, invoice, sale=sale)
            line(books, invoice, delivery=delivery)
        run_file(dairy_005.url, MIGRATION)

        books.run("update public.invoice_line_items set quantity = 1, bills = true")
        assert books.bills(invoices[1]) == [False, False]
        books.delete(invoices[0])
        assert [books.bills(each) for each in invoices] == [[False] * 2, [True] * 2, [False] * 2]
        assert books.says(sale) == "Billed"
        with refused("sale_taken"):
            books.recover(invoices[0])
        books.delete_as_the_app(invoices[1])
        assert books.bills(invoices[2]) == [True, True]
        assert books.mapped(sale) == {
            invoices[0]: False,
            invoices[1]: False,
            invoices[2]: True,
        }
        assert books.broken() == []
        books.cancel(invoices[2])
        assert books.says(sale) == "Pending"
        assert books.broken() == []

    def test_it_comes_and_goes_over_rows_that_break_every_rule(self, dairy: Database) -> None:
        books = Books(dairy.connect(autocommit=True))
        offend_everywhere(books)
        for migration in load_migrations(ROOT / "supabase"):
            if migration.gap and migration.gap < "006":
                run_file(dairy.url, MIGRATIONS / f"{migration.stem}.sql")
        schema, rows = dump(dairy.superuser_url, "--schema-only"), dump_rows(dairy.url)
        broken = books.violations()
        run_file(dairy.url, MIGRATION)
        assert books.violations() == broken
        books.connection.autocommit = False
        books.connection.execute(VERIFY.read_bytes())
        books.connection.rollback()
        run_file(dairy.url, ROLLBACK)
        assert dump(dairy.superuser_url, "--schema-only") == schema
        assert dump_rows(dairy.url) == rows


def used(books: Billing) -> dict[str, object]:
    """Invoices in every state that this gap knows."""
    customer = books.customer(opening_balance=10)
    sales = [books.sale(customer, 70) for _ in range(4)]
    live, deleted, cancelled, paid, gone = (
        books.invoice(customer, total) for total in (70, 120, 70, 70, 70)
    )
    for invoice, sale in zip((live, deleted, cancelled, paid), sales, strict=True):
        books.line(invoice, sale=sale)
    books.line(deleted, delivery=books.delivery(customer))
    books.allocate(books.payment(customer, 100), {paid: 70})
    own = books.sale(customer, 30)
    books.pay_sales(books.payment(customer, 30), own)
    books.delete(deleted)
    books.cancel(cancelled)
    books.delete(gone, permanent=True)
    books.run("update public.customers set opening_balance = 20 where id = %s", customer)
    return {"customer": customer, "sales": sales, "deleted": deleted, "live": live}


def redeployed(database: Database, before: Database, meanwhile: Callable[[Books], None]) -> Billing:
    """Rolled back with the archive, used without the gap, and deployed again."""
    with connect(before.url, purpose="test") as session:
        without = read_catalog(session)
    with connect(database.url, purpose="test") as session:
        prepare_ledger(session)
        with session.transaction():
            losses = find_losses(session, find_vanishing(session, without, read_catalog(session)))
            keep(session, GAP.version, losses)
            session.execute(ROLLBACK.read_bytes())
    meanwhile(Books(database.connect(autocommit=True)))
    with connect(database.url, purpose="test") as session:
        with session.transaction():
            session.execute(MIGRATION.read_bytes())
            give_back_to(session, GAP)
        with session.transaction(force_rollback=True):
            session.execute(VERIFY.read_bytes())
    return Billing(database.connect(autocommit=True))


class TestArchive:
    """Rolled back and deployed again by the toolkit, nothing is lost."""

    def test_everything_comes_back(self, dairy_006: Database, dairy_005: Database) -> None:
        books = Billing(dairy_006.connect(autocommit=True))
        used(books)
        kept = table_rows(books.connection, TABLES)
        back = redeployed(dairy_006, dairy_005, lambda _: None)
        assert table_rows(back.connection, TABLES) == kept
        assert back.broken() == []

    def test_a_deleted_invoice_stays_cancelled_and_can_be_recovered(
        self, dairy_006: Database, dairy_005: Database
    ) -> None:
        books = Billing(dairy_006.connect(autocommit=True))
        deleted = used(books)["deleted"]
        status = "select invoice_status from public.invoice_metadata where id = %s"

        def check(rolled_back: Books) -> None:
            assert rolled_back.value(status, deleted) == "cancelled"

        back = redeployed(dairy_006, dairy_005, check)
        assert back.ask("public.recover_invoice(%s)", deleted)["invoice_status"] == "sent"
        assert back.broken() == []

    def test_one_that_was_reinstated_meanwhile_is_in_use(
        self, dairy_006: Database, dairy_005: Database
    ) -> None:
        books = Billing(dairy_006.connect(autocommit=True))
        were = used(books)

        def reinstate(rolled_back: Books) -> None:
            rolled_back.run(
                "update public.invoice_metadata set invoice_status = 'sent' where id = %s",
                were["deleted"],
            )
            rolled_back.run(
                "update public.invoice_metadata set invoice_status = 'cancelled' where id = %s",
                were["live"],
            )
            # what the database without the gap does not do by itself
            rolled_back.run(
                "update public.sales set payment_status = 'Billed' where id = any(%s)",
                were["sales"],
            )

        back = redeployed(dairy_006, dairy_005, reinstate)
        found = back.rows(
            "select id, deleted_at is null, invoice_status from public.invoice_metadata"
            " where id in (%s, %s)",
            were["deleted"],
            were["live"],
        )
        assert sorted(found) == sorted(
            [(were["deleted"], True, "sent"), (were["live"], True, "cancelled")]
        )
        assert back.rows(
            "select distinct bills from public.invoice_line_items where invoice_id = %s",
            were["deleted"],
        ) == [(True,)]
        assert back.broken() == []


def test_a_restore_of_the_rows_alone_ends_right(
    dairy_006: Database, empty_database: Database
) -> None:
    books = Billing(dairy_006.connect(autocommit=True))
    used(books)
    for migration in load_migrations(ROOT / "supabase"):
        if migration.version <= GAP.version:
            run_file(empty_database.url, MIGRATIONS / f"{migration.stem}.sql")

    psql(
        empty_database.url,
        # what the migrations found there each database remembers of itself
        script=dump(
            dairy_006.url,
            "--data-only",
            "--schema=public",
            "--schema=private",
            "--exclude-table-data=private.privileges_before",
        ),
    )

    restored = Billing(empty_database.connect(autocommit=True))
    assert table_rows(restored.connection, TABLES) == table_rows(books.connection, TABLES)
    assert restored.broken() == []


NOTHING_REVIVED = """
  create or replace function private.revive_invoice(p_invoice_id uuid) returns void
  language sql as 'select'
"""
SABOTAGE = [
    "drop index public.invoice_line_items_sale_billed_once",
    "drop index public.invoice_line_items_delivery_billed_once",
    "drop trigger bill_on_insert on public.invoice_line_items",
    "drop trigger free_on_delete on public.invoice_line_items",
    "drop trigger keep_bills_on_update on public.invoice_line_items",
    "drop trigger refuse_truncate on public.invoice_line_items",
    "drop trigger bill_with_invoice on public.invoice_metadata",
    "drop trigger keep_deletion_on_insert on public.invoice_metadata",
    "drop trigger keep_billed_sale on public.sales",
    "drop trigger keep_billing_customer on public.invoice_metadata",
    "drop trigger keep_billed_delivery on public.deliveries",
    "drop trigger refuse_letting_go on public.invoice_line_items",
    "drop trigger refuse_change_deeper on public.invoice_line_items",
    "drop trigger keep_issued_total on public.invoice_metadata",
    "drop trigger refuse_change on public.audit_trail",
    "drop trigger audit_insert on public.invoice_metadata",
    "drop trigger audit_delete on public.invoice_metadata",
    "drop trigger audit_delete on public.invoice_line_items",
    "drop trigger audit_edit on public.invoice_metadata",
    "drop trigger audit_edit on public.payments",
    "drop trigger audit_edit on public.customers",
    "grant execute on function public.delete_invoice_safe to anon",
    "grant execute on function public.delete_invoice_and_revert_sales to anon",
    "revoke execute on function public.recover_invoice from authenticated",
    "grant insert on public.audit_trail to authenticated",
    "grant update on public.invoice_sales_mapping to service_role",
    "grant select on public.audit_trail to anon",
    "alter table public.audit_trail disable row level security",
    "create function public.recover_invoice(text) returns int language sql as 'select 1'",
    NOTHING_REVIVED,
]


class TestVerify:
    """The canary: in effect or raised, and nothing left behind."""

    def test_it_passes_beside_customers(self, dairy_006: Database) -> None:
        books = Billing(dairy_006.connect(autocommit=True))
        used(books)
        kept = table_rows(books.connection, TABLES)
        books.connection.autocommit = False
        books.connection.execute(VERIFY.read_bytes())
        books.connection.rollback()
        assert table_rows(books.connection, TABLES) == kept

    @pytest.mark.parametrize("sabotage", SABOTAGE)
    def test_it_fails_when_something_is_missing(self, dairy_006: Database, sabotage: str) -> None:
        connection = dairy_006.connect()
        connection.execute(sabotage.encode())
        with pytest.raises(psycopg.Error):
            connection.execute(VERIFY.read_bytes())
