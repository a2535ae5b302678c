"""What is wrong is listed in the same words from inside the database and from outside.

check_payment_invariants() and the queries in sql/invariants say the rules twice, one in functions
and one without any: whatever somebody does to the rows, they have to agree, row by row.
"""

from collections.abc import Iterable

import psycopg
import pytest

from dairy.billing import Billing
from dairy.books import ASKED_OUTSIDE_ALONE, INVARIANTS, Books
from dairy.planted import plant
from dairy.settling import Settling
from pymilk.database.cluster import SUPERUSER
from support.databases import Database

WRONGS: dict[str, Iterable[str]] = {
    "payments": (
        "customer_id = null",
        "customer_id = (select id from public.customers order by id limit 1)",
        "amount_applied = null",
        "amount_applied = amount_applied + 1",
        "amount_unapplied = null",
        "amount_unapplied = amount_unapplied + 1",
        "amount = 'Infinity'",
        "amount = 'NaN'",
        "amount = 1",
        "allocation_status = null",
        "allocation_status = 'unapplied'",
        "voided_at = now(), voided_by = 'x', void_reason = 'y'",
        "payment_date = payment_date + 1",
        "payment_method = 'barter'",
        "payment_method = null",
    ),
    "invoice_metadata": (
        "customer_id = (select id from public.customers order by id limit 1)",
        "amount_paid = null",
        "amount_paid = amount_paid + 1",
        "amount_outstanding = null",
        "amount_outstanding = 0",
        "invoice_status = null",
        "invoice_status = 'draft'",
        "invoice_status = 'cancelled'",
        "invoice_status = 'paid'",
        "deleted_at = now()",
        "last_payment_date = null",
        "last_payment_date = '2031-01-01'",
        "due_date = '2020-01-01'",
        "due_date = null",
        "total_amount = 'NaN'",
        "total_amount = 1",
        "period_end = '2099-01-01'",
        "invoice_number = '20252699999' where invoice_number is not null",
    ),
    "customers": (
        "opening_balance = null",
        "opening_balance = 5",
        "opening_balance_paid = opening_balance_paid + 1",
    ),
    "sales": (
        "customer_id = null, sale_type = 'Cash', payment_status = 'Completed'",
        "customer_id = (select id from public.customers order by id limit 1)",
        "payment_status = 'Pending'",
        "payment_status = 'Billed'",
        "payment_status = 'Completed'",
        "amount_paid = amount_paid + 1",
        "total_amount = 1",
    ),
    "invoice_line_items": (
        "bills = not bills",
        "sale_id = null",
        "line_total = line_total + 1",
    ),
    "deliveries": (
        "delivery_status = 'cancelled'",
        "delivery_status = null",
        "total_amount = total_amount + 1",
    ),
    "invoice_payments": (
        "amount_allocated = amount_allocated + 1",
        "payment_id = null",
        "invoice_id = null",
    ),
    "opening_balance_payments": ("amount = amount + 1", "payment_id = null", "customer_id = null"),
    "sales_payments": (
        "amount_allocated = amount_allocated + 1",
        "payment_id = null",
        "sales_id = null",
    ),
    "invoice_sales_mapping": ("released_at = now()", "released_at = null"),
    "invoice_counters": ("last_number = 0",),
}
"""Table → what somebody may make of its rows."""


@pytest.fixture
def books(dairy_hardened: Database) -> Billing:
    """One of each kind of thing, joined in each way."""
    books = plant(dairy_hardened)
    assert books.broken() == []
    return books


MIRROR = "unapplied_payments_true"
"""From inside it is compared with what the payment says, which others compare with the rows."""


def inside(books: Books) -> list[tuple[object, ...]]:
    return sorted((row for row in books.broken() if row[0] != MIRROR), key=repr)


def outside(books: Books) -> list[tuple[object, ...]]:
    return sorted(
        (
            (path.stem, *row)
            for path in INVARIANTS
            if path.stem not in {MIRROR, *ASKED_OUTSIDE_ALONE}
            for row in books.connection.execute(path.read_bytes()).fetchall()
        ),
        key=repr,
    )


@pytest.mark.parametrize("table", WRONGS)
def test_both_say_the_same(dairy_hardened: Database, books: Billing, table: str) -> None:
    assert inside(books) == outside(books) == []
    unseen = Settling(dairy_hardened.connect(user=SUPERUSER))
    unseen.run("set session_replication_role = replica")
    unseen.connection.commit()
    told = 0
    for wrong in WRONGS[table]:
        try:
            unseen.run(f"update public.{table} set {wrong}")
        except psycopg.IntegrityError:  # which the live schema rules out already
            unseen.connection.rollback()
            continue
        found = inside(unseen)
        assert found == outside(unseen), wrong
        told += len(found)
        unseen.connection.rollback()
    assert told > 0
