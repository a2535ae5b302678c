"""Each amount that is written directly is a sum of money; each allocation has both its sides."""

from collections.abc import Mapping
from uuid import UUID

import pytest

from dairy.billing import Billing
from dairy.books import ruled_out
from dairy.settling import silently
from support.databases import Database

TOO_LARGE = ("10000000000", "NaN", "Infinity", "0.001")

NONE: dict[tuple[str, str], tuple[str, ...]] = {
    ("payments", "amount"): (*TOO_LARGE, "0", "-0.01"),
    ("invoice_metadata", "total_amount"): TOO_LARGE,
    ("invoice_payments", "amount_allocated"): (*TOO_LARGE, "0", "-0.01"),
    ("opening_balance_payments", "amount"): (*TOO_LARGE, "0", "-0.01"),
    ("sales_payments", "amount_allocated"): (*TOO_LARGE, "0", "-0.01"),
    ("customers", "opening_balance"): (*TOO_LARGE, "-0.01"),
    ("sales", "total_amount"): (*TOO_LARGE, "0", "-0.01"),
}
"""Table and column → what is no amount there."""

RULES = {
    "payments": "payments_amount_valid",
    "invoice_metadata": "invoice_metadata_total_valid",
    "invoice_payments": "invoice_payments_amount_valid",
    "opening_balance_payments": "opening_balance_payments_amount_valid",
    "sales_payments": "sales_payments_amount_valid",
    "customers": "customers_opening_balance_valid",
    "sales": "sales_total_valid",
}

SIDES = {
    "invoice_payments": ("payment_id", "invoice_id", "invoice_payments_two_sided"),
    "opening_balance_payments": (
        "payment_id",
        "customer_id",
        "opening_balance_payments_two_sided",
    ),
    "sales_payments": ("payment_id", "sales_id", "sales_payments_two_sided"),
}
"""Table → its two sides, and the rule that asks for both."""

Rows = Mapping[str, UUID]


@pytest.fixture
def books(dairy_hardened: Database) -> Billing:
    return Billing(dairy_hardened.connect(autocommit=True))


@pytest.fixture
def rows(books: Billing) -> Rows:
    """A row of each table: a customer whose payment pays a part of everything."""
    customer = books.customer(opening_balance=500)
    payment, invoice = books.payment(customer, 500), books.invoice(customer, 100)
    sale = books.sale(customer, 40)
    books.allocate(payment, {invoice: 60})
    books.pay_opening(payment, customer, 10)
    books.pay_sales(payment, sale)
    found = {
        "customers": customer,
        "payments": payment,
        # not those that are paid: their totals are fixed by other rules as well
        "invoice_metadata": books.invoice(customer, 100),
        "sales": books.sale(customer, 40),
    }
    for table in SIDES:
        found[table] = books.value(f"select id from public.{table} where payment_id = %s", payment)
    return found


def change(books: Billing, rows: Rows, table: str, column: str, value: str | None) -> None:
    books.run(f"update public.{table} set {column} = %s where id = %s", value, rows[table])


def copy(books: Billing, rows: Rows, table: str, column: str, value: str | None) -> None:
    """Insert the same once more, but for this."""
    books.run(
        f"insert into public.{table} select copied.* from public.{table} as one"
        " cross join lateral jsonb_populate_record(one, jsonb_build_object("
        " 'id', gen_random_uuid(), %s::text, %s::text)) as copied where one.id = %s",
        column,
        value,
        rows[table],
    )


@pytest.mark.parametrize(("table", "column"), NONE)
def test_what_is_no_amount_is_refused_by_its_rule(
    books: Billing, rows: Rows, table: str, column: str
) -> None:
    for value in NONE[table, column]:
        for write in (change, copy):
            with ruled_out(RULES[table]):
                write(books, rows, table, column, value)
    assert books.broken() == []


@pytest.mark.parametrize("table", SIDES)
def test_an_allocation_without_a_side_is_refused(books: Billing, rows: Rows, table: str) -> None:
    *sides, rule = SIDES[table]
    for side in sides:
        for write in (change, copy):
            with ruled_out(rule):
                write(books, rows, table, side, None)
    assert books.broken() == []


@pytest.mark.parametrize(("table", "column"), NONE)
def test_a_row_from_before_that_offends_can_be_touched_elsewhere(
    dairy_hardened: Database, books: Billing, rows: Rows, table: str, column: str
) -> None:
    silently(
        dairy_hardened,
        f"update public.{table} set {column} = 10000000000 where id = %s",
        rows[table],
    )
    books.run(f"update public.{table} set updated_at = now() where id = %s", rows[table])


@pytest.mark.parametrize("table", SIDES)
def test_an_allocation_from_before_without_a_side_can_be_touched_elsewhere(
    dairy_hardened: Database, books: Billing, rows: Rows, table: str
) -> None:
    for side in SIDES[table][:2]:
        silently(
            dairy_hardened,
            f"update public.{table} set {side} = null where id = %s",
            rows[table],
        )
        books.run(f"update public.{table} set updated_at = now() where id = %s", rows[table])
