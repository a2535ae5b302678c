"""Amounts that invoices are made of are numbers, and sums of money where they are owed."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import psycopg
import pytest

from dairy.books import INVARIANTS, Books, ruled_out, session_past_triggers
from dairy.invoicing import SEPTEMBER, Invoicing
from dairy.stages import alone_and_with_all
from support.databases import Database


@dataclass(frozen=True)
class Rule:
    """What a column may hold.

    Attributes:
        name: What a refusal says.
        owed: Whether it is owed, so in whole paise.
        least: Refused below, as text; null where an older check says so already.
        most: Refused from here on.
    """

    name: str
    owed: bool = False
    least: str | None = "-0.01"
    most: str = "10000000000"


RULES: Mapping[tuple[str, str], Rule] = {
    ("products", "current_price"): Rule("products_price_valid"),
    ("product_pricing_history", "price"): Rule("product_pricing_history_price_valid"),
    ("daily_orders", "total_amount"): Rule("daily_orders_total_valid", owed=True),
    ("daily_orders", "unit_price"): Rule("daily_orders_price_valid"),
    ("daily_orders", "planned_quantity"): Rule("daily_orders_price_valid"),
    ("deliveries", "total_amount"): Rule("deliveries_total_valid", owed=True),
    ("deliveries", "unit_price"): Rule("deliveries_price_valid"),
    ("deliveries", "planned_quantity"): Rule("deliveries_price_valid"),
    ("deliveries", "actual_quantity"): Rule("deliveries_price_valid"),
    ("sales", "unit_price"): Rule("sales_price_valid", least=None),
    ("sales", "quantity"): Rule("sales_price_valid", least=None),
    ("sales", "gst_amount"): Rule("sales_price_valid"),
    ("invoice_metadata", "subscription_amount"): Rule("invoice_metadata_parts_valid", owed=True),
    ("invoice_metadata", "manual_sales_amount"): Rule("invoice_metadata_parts_valid", owed=True),
    ("invoice_metadata", "gst_amount"): Rule("invoice_metadata_gst_valid"),
    ("invoice_line_items", "line_total"): Rule("invoice_line_items_total_valid", owed=True),
    ("invoice_line_items", "unit_price"): Rule("invoice_line_items_price_valid"),
    ("invoice_line_items", "quantity"): Rule("invoice_line_items_price_valid"),
    ("invoice_line_items", "gst_amount"): Rule("invoice_line_items_price_valid"),
    ("invoice_line_items", "gst_rate"): Rule("invoice_line_items_price_valid", most="100.01"),
}

COLUMNS = [pytest.param(*column, id=".".join(column)) for column in RULES]

SALES_CHECKS = {"NaN", "Infinity"}
"""What the live schema's `> 0` lets through."""


@pytest.fixture(params=alone_and_with_all("dairy_007"))
def books(request: pytest.FixtureRequest) -> Invoicing:
    database: Database = request.getfixturevalue(request.param)
    return planted(Invoicing(database.connect(autocommit=True)))


def planted(books: Invoicing) -> Invoicing:
    """A row in each of the tables, and nothing but sound amounts."""
    customer = books.household(deliveries=1)
    books.sale(customer, SEPTEMBER[0], 50, gst=2)
    invoice = books.app_invoice(customer, *SEPTEMBER, status="draft")
    books.run(
        "insert into public.invoice_line_items (invoice_id, line_item_type, quantity, unit_price,"
        " line_total, gst_rate, gst_amount) values (%s, 'subscription', 1, 100, 100, 5, 4.76)",
        invoice,
    )
    books.run(
        "insert into public.product_pricing_history (product_id, price, effective_date)"
        " select id, 60, '2025-09-01' from public.products limit 1"
    )
    return books


def one(books: Books, table: str) -> UUID:
    """One of its rows; of sales, the new one, which nobody has paid or billed."""
    order = "created_at desc, id" if table in {"sales", "deliveries"} else "id"
    found = books.value(f"select id from public.{table} order by {order} limit 1")
    assert isinstance(found, UUID)
    return found


def bad(rule: Rule) -> list[str]:
    """Amounts that the rule refuses."""
    return [
        "NaN",
        "Infinity",
        rule.most,
        *([rule.least, "-Infinity"] if rule.least else []),
        *(["0.001"] if rule.owed else []),
    ]


def good(rule: Rule) -> list[str]:
    """Amounts that it takes, to the last of them."""
    top = {"10000000000": "9999999999.99", "100.01": "100"}[rule.most]
    return [
        "0.01",
        top,
        "10.000",
        *([] if rule.owed else ["0.0012345"]),
        *(["0"] if rule.least else []),
    ]


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_an_update(books: Invoicing, table: str, column: str) -> None:
    rule, row = RULES[table, column], one(books, table)
    edit = f"update public.{table} set {column} = %s where id = %s"
    for amount in bad(rule):
        with ruled_out(rule.name):
            books.run(edit, amount, row)
    for amount in good(rule):
        assert books.run(edit, amount, row) == 1


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_an_insert(books: Invoicing, table: str, column: str) -> None:
    """The same row once more, but for what may not be there twice."""
    rule, row = RULES[table, column], one(books, table)
    again = {
        "id": "gen_random_uuid()",
        "code": "gen_random_uuid()::text",
        "order_date": "date '2031-01-01'",
        "invoice_number": "null",
        "period_start": "date '2031-01-01' + counter.n",
        "period_end": "date '2031-01-01' + counter.n",
        "daily_order_id": "null",
        column: "%(amount)s::numeric",
    }
    if table == "daily_orders":
        again["order_date"] = "date '2031-01-01' + counter.n"
    columns = [
        name
        for (name,) in books.rows(
            "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0"
            " and not attisdropped order by attnum",
            f"public.{table}",
        )
    ]
    values = ", ".join(again.get(name, f"source.{name}") for name in columns)
    insert = (
        f"insert into public.{table} ({', '.join(columns)}) select {values}"
        f" from public.{table} as source cross join (select %(n)s::integer as n) as counter"
        " where source.id = %(row)s"
    )

    def add(amount: str, number: int) -> None:
        books.connection.execute(insert.encode(), {"amount": amount, "row": row, "n": number})

    for number, amount in enumerate(bad(rule)):
        with ruled_out(rule.name):
            add(amount, number)
    for number, amount in enumerate(good(rule)):
        add(amount, number)


def test_only_an_adjustment_is_negative(books: Invoicing) -> None:
    line = one(books, "invoice_line_items")
    books.run("update public.invoice_line_items set line_item_type = 'adjustment'")
    for column in ("line_total", "unit_price", "quantity", "gst_amount"):
        books.run(f"update public.invoice_line_items set {column} = -9999999999.99")
        with ruled_out(RULES["invoice_line_items", column].name):
            books.run(f"update public.invoice_line_items set {column} = -10000000000")
    for became in ("subscription", "manual_sale", None):
        with pytest.raises(psycopg.errors.CheckViolation):
            books.run(
                "update public.invoice_line_items set line_item_type = %s where id = %s",
                became,
                line,
            )
    books.run(
        "update public.invoice_line_items set line_item_type = null, line_total = 0,"
        " unit_price = 0, quantity = 0, gst_amount = 0"
    )


def test_null_is_no_amount_and_no_fault(books: Invoicing) -> None:
    for table, columns in (
        ("deliveries", ("planned_quantity", "actual_quantity")),
        ("sales", ("gst_amount",)),
        ("invoice_metadata", ("subscription_amount", "manual_sales_amount", "gst_amount")),
        ("invoice_line_items", ("line_total", "unit_price", "quantity", "gst_amount", "gst_rate")),
    ):
        for column in columns:
            books.run(f"update public.{table} set {column} = null")
    assert not listed(books)


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_an_old_offender_is_listed_can_be_touched_elsewhere_and_get_right(
    dairy_hardened: Database, table: str, column: str
) -> None:
    books = planted(Invoicing(dairy_hardened.connect(autocommit=True)))
    unseen = session_past_triggers(dairy_hardened)
    rule, row = RULES[table, column], one(books, table)
    edit = f"update public.{table} set {column} = %s where id = %s"
    for amount in bad(rule):
        unseen.run(edit, amount, row)
        assert listed(books) == [row], amount
    books.run(f"update public.{table} set updated_at = now() where id = %s", row)
    for amount in good(rule):
        unseen.run(edit, amount, row)
        assert listed(books) == [], amount
    unseen.run(edit, "NaN", row)
    books.run(edit, 1, row)
    assert listed(books) == []


def test_an_adjustment_is_listed_from_where_it_is_no_amount(dairy_hardened: Database) -> None:
    books = planted(Invoicing(dairy_hardened.connect(autocommit=True)))
    unseen, line = session_past_triggers(dairy_hardened), one(books, "invoice_line_items")
    unseen.run("update public.invoice_line_items set line_item_type = 'adjustment'")
    for column in ("line_total", "unit_price", "quantity", "gst_amount"):
        for amount, found in (("-9999999999.99", []), ("-10000000000", [line]), ("0", [])):
            unseen.run(f"update public.invoice_line_items set {column} = %s", amount)
            assert listed(books) == found, (column, amount)


def listed(books: Books) -> list[UUID]:
    """What is listed, from inside and outside in the same words."""
    query = next(path for path in INVARIANTS if path.stem == "billed_amounts_valid")
    outside = sorted(books.connection.execute(query.read_bytes()).fetchall())
    inside = sorted(row[1:] for row in books.broken() if row[0] == "billed_amounts_valid")
    assert inside == outside
    return [UUID(row[1]) for row in inside]


@pytest.mark.parametrize("zone", ["Etc/GMT+12", "Pacific/Kiritimati"])
def test_a_sale_is_dated_by_the_dairys_day(books: Invoicing, zone: str) -> None:
    """It is never the same day in both of these zones, so one of them is not Kolkata's."""
    books.setting("timezone", zone)
    sale = books.rows(
        "insert into public.sales (product_id, quantity, unit_price, total_amount, sale_type)"
        " select id, 1, 1, 1, 'Cash' from public.products limit 1"
        " returning sale_date, public.business_today()"
    )
    assert sale[0][0] == sale[0][1]
