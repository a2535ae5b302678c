"""What is no sum of money is listed, to the last paisa of the limits, from inside and outside."""

import pytest

from dairy.books import Books, session_past_triggers
from support.databases import Database

AMOUNTS = {
    "payment_amounts_valid": [("payments", "amount")],
    "invoice_totals_valid": [("invoice_metadata", "total_amount")],
    "allocation_amounts_valid": [
        ("invoice_payments", "amount_allocated"),
        ("opening_balance_payments", "amount"),
        ("sales_payments", "amount_allocated"),
    ],
    "sale_totals_valid": [("sales", "total_amount")],
    "opening_balances_valid": [("customers", "opening_balance")],
}
"""Invariant → the columns that it is about."""

MAY_BE_NOTHING = {"invoice_totals_valid", "opening_balances_valid"}
"""Invoices and opening balances of 0 are legal."""

HELD_BY_THE_LIVE_SCHEMA = {
    ("sales", "total_amount"),
    ("customers", "opening_balance"),
    ("invoice_payments", "amount_allocated"),
    ("opening_balance_payments", "amount"),
    ("sales_payments", "amount_allocated"),
}
"""Columns whose own check already refuses less than the least."""

COLUMNS = [
    pytest.param(invariant, *column, id=".".join(column))
    for invariant, columns in AMOUNTS.items()
    for column in columns
]


@pytest.fixture
def planted(dairy_hardened: Database) -> Books:
    """A row in each of the tables, and a session in which no trigger looks."""
    books = Books(dairy_hardened.connect(autocommit=True))
    customer = books.customer(opening_balance=100)
    payment, invoice = books.payment(customer, 500), books.invoice(customer, 100)
    sale = books.value(
        "insert into public.sales (customer_id, product_id, quantity, unit_price, total_amount,"
        " sale_type, payment_status) select %s, id, 1, 40, 40, 'Credit', 'Pending'"
        " from public.products limit 1 returning id",
        customer,
    )
    books.allocate(payment, {invoice: 60})
    for table, target, amount, column in (
        ("opening_balance_payments", customer, 10, "amount"),
        ("sales_payments", sale, 40, "amount_allocated"),
    ):
        to = "customer_id" if column == "amount" else "sales_id"
        books.run(
            f"insert into public.{table} (payment_id, {to}, {column}) values (%s, %s, %s)",
            payment,
            target,
            amount,
        )
    return session_past_triggers(dairy_hardened)


def listed(books: Books, invariant: str) -> bool:
    inside = any(row[0] == invariant for row in books.broken())
    assert inside == (invariant in books.violations())
    return inside


@pytest.mark.parametrize(("invariant", "table", "column"), COLUMNS)
def test_listed(planted: Books, invariant: str, table: str, column: str) -> None:
    below = ["-0.01"] if invariant in MAY_BE_NOTHING else ["0", "-0.01"]
    if (table, column) in HELD_BY_THE_LIVE_SCHEMA:
        below = []
    for amount in (*below, "10000000000", "0.001", "NaN", "Infinity"):
        planted.run(f"update public.{table} set {column} = %s", amount)
        assert listed(planted, invariant), amount


@pytest.mark.parametrize(("invariant", "table", "column"), COLUMNS)
def test_not_listed(planted: Books, invariant: str, table: str, column: str) -> None:
    least = ["0", "0.00"] if invariant in MAY_BE_NOTHING else []
    for amount in (*least, "0.01", "9999999999.99", "10.000"):
        planted.run(f"update public.{table} set {column} = %s", amount)
        assert not listed(planted, invariant), amount
