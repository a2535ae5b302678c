"""Gaps 004 and 009 keep no books of their own: rolled back, they take nothing along."""

import pytest

from dairy.books import Books, table_rows
from dairy.scripts import run_file
from pymilk.database.catalog import read_catalog
from pymilk.database.connection import connect
from pymilk.deploy.change.archive import find_losses, find_vanishing
from pymilk.project.migrations import load_migrations
from support.databases import ROOT, Database

TABLES = ["public.payments", "public.unapplied_payments", "public.invoice_payments"]


def use(books: Books) -> None:
    """What people do with payments: record, allocate, edit, void, annotate."""
    customer = books.customer()
    invoice = books.invoice(customer, 1000)
    paid, edited, voided = (books.payment(customer, 800) for _ in range(3))
    books.allocate(paid, {invoice: 300})
    books.run(
        "update public.payments set amount = 900, payment_method = 'Cash' where id = %s", edited
    )
    books.run("update public.unapplied_payments set reason = 'advance'")
    books.run("select public.void_payment(%s, 'bounced')", voided)


@pytest.mark.parametrize(("before", "gap"), [("003", "004"), ("008", "009")])
def test_rolled_back_and_deployed_again_it_loses_nothing(
    request: pytest.FixtureRequest, before: str, gap: str
) -> None:
    database: Database = request.getfixturevalue(f"dairy_{before}")
    migration = next(each for each in load_migrations(ROOT / "supabase") if each.gap == gap)
    up, down = (
        ROOT / "supabase" / folder / f"{migration.stem}.sql"
        for folder in ("migrations", "rollbacks")
    )
    books = Books(database.connect(autocommit=True))
    with connect(database.url, purpose="test") as session:
        earlier = read_catalog(session)
        run_file(database.url, up)
        later = read_catalog(session)
        use(books)
        rows = table_rows(books.connection, TABLES)

        assert find_losses(session, find_vanishing(session, earlier, later)) == ()
        run_file(database.url, down)
        assert not earlier.difference(read_catalog(session))
        assert table_rows(books.connection, TABLES) == rows

        run_file(database.url, up)
        assert not later.difference(read_catalog(session))
        assert table_rows(books.connection, TABLES) == rows
    assert books.broken() == []
