"""Voided payments through the real pipeline: deploy, void, roll back with the archive, deploy."""

from collections.abc import Callable

import pytest

from dairy.books import Books, refused
from dairy.undoing import unallocate, update, void
from pymilk.database.catalog import read_catalog
from pymilk.database.connection import connect
from pymilk.database.history import prepare_history, record_applied
from pymilk.database.ledger import Event, Kind, prepare_ledger, record
from pymilk.deploy.change.rollback import roll_back
from pymilk.project.project import load_project
from support.databases import ROOT, Database
from support.projects import Toy, deploy_toy

POLICY = {"clean_tree": False, "soak_hours": 0}


@pytest.fixture
def adopted(dairy: Database) -> Database:
    """The demo dairy as pymilk has adopted it."""
    baseline = load_project(ROOT).migrations[0]
    with connect(dairy.url, purpose="test") as connection, connection.transaction():
        prepare_history(connection)
        prepare_ledger(connection)
        record_applied(connection, baseline)
        event = Event(
            Kind.ADOPT,
            {},
            version=baseline.version,
            name=baseline.name,
            checksum=baseline.up.checksum,
            after=read_catalog(connection),
        )
        record(connection, event)
    return dairy


def each(gaps: str, act: Callable[[str], object]) -> None:
    for gap in gaps.split():
        act(gap)


@pytest.mark.long
def test_nothing_is_lost_and_no_credit_appears(adopted: Database) -> None:
    def deploy(gap: str) -> None:
        deploy_toy(Toy(ROOT).plan(adopted, gap, policy=POLICY))

    def undo(gap: str) -> None:
        roll_back(Toy(ROOT).plan(adopted, gap, policy=POLICY), archive=True)

    each("001 002 003", deploy)
    books = Books(adopted.connect(autocommit=True))
    customer = books.customer(opening_balance=100)
    payment, other = books.payment(customer, 800), books.payment(customer, 300)
    invoice = books.invoice(customer, 500)
    books.allocate(payment, {invoice: 400})
    void(books, payment, "bounced")
    update(books, other, 350, {invoice: 350})
    unallocate(books, other)

    each("003 002", undo)
    assert books.payment_totals(payment) == (0, 0, "unapplied")
    each("002 003", deploy)

    assert books.value("select void_reason from public.payments where id = %s", payment) == (
        "bounced"
    )
    assert books.value("select count(*) from private.payment_edits") == 2
    assert books.broken() == []

    # With gap 001 gone too, its next deploy would correct the totals and so give credit back: it
    # is done by hand, and the payment voided again.
    each("003 002 001", undo)
    books.run("update public.payments set amount_unapplied = amount where id = %s", payment)
    each("001 002 003", deploy)
    assert books.payment_totals(payment) == (0, 800, "unapplied")
    void(books, payment, "bounced")
    with refused("payment_voided"):
        void(books, payment)
    assert books.broken() == []
