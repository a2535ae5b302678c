"""The demo dairy, loaded: as many rows as the live one has, or a whole multiple of them.

Synthetic to the last field, and the same for the same seed: ids, moments and amounts included.
What it shows is the dairy on the morning of 16 September 2025, with both vans on their rounds and
nothing invoiced or paid yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from psycopg import sql

from pymilk.demo import catalogue, copies, counter, people, plans, rounds, wishes
from pymilk.problem import Problem, UsageProblem

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

SEED: Final = 20250916
ORDERS: Final = 1464
DELIVERIES: Final = 1398


class Table(NamedTuple):
    """A table with its first rows, which are named tuples with its columns as fields."""

    name: str
    rows: Sequence[NamedTuple]


def tables(seed: int) -> list[Table]:
    """The dairy at scale 1, each table after those that it refers to."""
    routes = people.routes(seed)
    buyers = people.buyers(seed, routes)
    customers = [buyer.customer for buyer in buyers]
    subscriptions = people.subscriptions(seed, buyers)
    asked = wishes.modifications(seed, subscriptions, ORDERS)
    planned = plans.orders(seed, asked, customers)
    made = rounds.deliveries(seed, planned, routes, DELIVERIES)
    on_account = [
        buyer.customer for buyer in buyers if buyer.arrangement is people.Arrangement.COUNTER
    ]
    return [
        Table("routes", routes),
        Table("products", catalogue.products(seed)),
        Table("product_pricing_history", catalogue.price_changes(seed)),
        Table("customers", customers),
        Table("base_subscriptions", subscriptions),
        Table("modifications", [each for some in asked.values() for each in some]),
        Table("daily_orders", rounds.with_outcome(planned, made)),
        Table("deliveries", made),
        Table("sales", counter.sales(seed, on_account)),
    ]


def load(connection: psycopg.Connection, *, scale: int = 1, seed: int = SEED) -> dict[str, int]:
    """Load the demo dairy into the baseline's empty tables.

    The dairy itself is copied in; at a larger scale the database then multiplies what hangs on a
    customer, while products and routes stay as they are. Everything is loaded or nothing is. The
    caller commits, unless the connection is in autocommit mode.

    Args:
        connection: As the tables' owner.
        scale: How many times the dairy's customers with all that is theirs; at least 1.
        seed: Another seed gives another dairy of the same size.

    Returns:
        The number of rows loaded into each table.

    Raises:
        UsageProblem: The scale is less than 1 or more than `copies.LARGEST_SCALE`.
        Problem: The tables are missing, or hold rows already. Nothing was changed.
    """
    if not 1 <= scale <= copies.LARGEST_SCALE:
        happened = f"The demo dairy cannot be loaded {scale} times."
        todo = f"Give a scale from 1 to {copies.LARGEST_SCALE}."
        raise UsageProblem(happened, state="Nothing was loaded.", todo=todo)
    dairy = tables(seed)
    names = [table.name for table in dairy]
    # In a transaction that was open before, or that this statement opens, the block below is a
    # savepoint: nothing is committed here. In autocommit mode it is the transaction.
    _refuse_without_tables(connection, names)
    with connection.transaction(), connection.cursor() as cursor:
        _refuse_rows(cursor, names)
        for table in dairy:
            _copy(cursor, table)
        copies.multiply(cursor, scale)
        return {name: _count(cursor, name) for name in names}


def _refuse_without_tables(connection: psycopg.Connection, names: list[str]) -> None:
    found = connection.execute(
        "select name from unnest(%s::text[]) as name where to_regclass('public.' || name) is null",
        [names],
    )
    missing = [name for (name,) in found]
    if missing:
        raise Problem(
            f"The demo dairy needs tables that are not there: {', '.join(missing)}.",
            state="Nothing was loaded.",
            todo="Apply the baseline migration first.",
        )


def _refuse_rows(cursor: psycopg.Cursor, names: list[str]) -> None:
    # A second load at the same time waits here for the first one and then sees its rows. Reads
    # go on, and so do the foreign keys' own checks.
    cursor.execute("lock table public.customers in share row exclusive mode")
    filled = [name for name in names if _holds_rows(cursor, name)]
    if filled:
        raise Problem(
            f"The demo dairy is for empty tables, and these hold rows: {', '.join(filled)}.",
            state="Nothing was loaded; those rows are as they were.",
            todo="Load it into a new database; `pymilk db reset` makes the embedded one new.",
        )


def _holds_rows(cursor: psycopg.Cursor, name: str) -> bool:
    query = sql.SQL("select exists (select from {})").format(sql.Identifier("public", name))
    row = cursor.execute(query).fetchone()
    return row is not None and bool(row[0])


def _count(cursor: psycopg.Cursor, name: str) -> int:
    query = sql.SQL("select count(*) from {}").format(sql.Identifier("public", name))
    row = cursor.execute(query).fetchone()
    return 0 if row is None else int(row[0])


def _copy(cursor: psycopg.Cursor, table: Table) -> None:
    columns = sql.SQL(", ").join(map(sql.Identifier, type(table.rows[0])._fields))
    statement = sql.SQL("copy {} ({}) from stdin").format(
        sql.Identifier("public", table.name), columns
    )
    with cursor.copy(statement) as copy:
        for row in table.rows:
            copy.write_row(row)
