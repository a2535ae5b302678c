"""The dairy many times over, made by the database from the dairy that it holds.

Every copy of a customer has its own id, telephone and door, and its own subscriptions, orders,
deliveries and sales with the same days and amounts, so that every figure is an exact multiple. The
first eight digits of a copy's id are the copy's number: ids are the same in every run, and one
copy's rows lie together in every index, which halves the time of loading.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from psycopg import sql

from pymilk.demo import rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import psycopg

# The telephone numbers of a copy take three digits of ten, the copy's number the others.
LARGEST_SCALE: Final = 1_000_000

PHONE: Final = """
  '+91 ' || overlay(
    lpad(((copy.number - 1)::bigint * 1000 + right({0}, 3)::integer)::text, 10, '0')
    placing ' ' from 6 for 0
  )
"""
ID: Final = "overlay({0}::text placing lpad(to_hex(copy.number), 8, '0') from 1 for 8)::uuid"
ADDRESS: Final = "'Sector ' || copy.number || ', ' || {0}"

# The tables that grow, each after those that it refers to, and what differs from copy to copy.
GROWING: Final[tuple[tuple[str, tuple[str, ...], Mapping[str, str]], ...]] = (
    (
        "customers",
        rows.Customer._fields,
        {"id": ID, "address": ADDRESS, "phone_primary": PHONE, "phone_secondary": PHONE},
    ),
    ("base_subscriptions", rows.Subscription._fields, {"id": ID, "customer_id": ID}),
    ("modifications", rows.Modification._fields, {"id": ID, "customer_id": ID}),
    ("daily_orders", rows.Order._fields, {"id": ID, "customer_id": ID}),
    (
        "deliveries",
        rows.Delivery._fields,
        {"id": ID, "daily_order_id": ID, "customer_id": ID},
    ),
    ("sales", rows.Sale._fields, {"id": ID, "customer_id": ID}),
)

# Statements that drop and make again: foreign keys, and indexes that are nobody's constraint.
CHECKS: Final = """
  select
    format('alter table %%s drop constraint %%I', c.conrelid::regclass, c.conname),
    format(
      'alter table %%s add constraint %%I %%s',
      c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid)
    )
  from pg_constraint as c
  where c.contype = 'f' and c.conrelid = any (%(tables)s::regclass[])
  union all
  select format('drop index %%s', i.indexrelid::regclass), pg_get_indexdef(i.indexrelid)
  from pg_index as i
  where i.indrelid = any (%(tables)s::regclass[])
    and not exists (select from pg_constraint as c where c.conindid = i.indexrelid)
  order by 1
"""


def multiply(cursor: psycopg.Cursor, scale: int) -> None:
    """Add copies 2 to `scale` of everything that hangs on a customer; none at scale 1."""
    if scale == 1:
        return
    with _checks_aside(cursor):
        for table, columns, own in GROWING:
            _add_copies(cursor, sql.Identifier("public", table), columns, own, scale)
    tables = [sql.Identifier("public", table) for table, _, _ in GROWING]
    cursor.execute(sql.SQL("analyze {}").format(sql.SQL(", ").join(tables)))


def _add_copies(
    cursor: psycopg.Cursor,
    table: sql.Identifier,
    columns: Sequence[str],
    own: Mapping[str, str],
    scale: int,
) -> None:
    values = [
        sql.SQL(own.get(column, "{0}")).format(sql.Identifier("original", column))
        for column in columns
    ]
    statement = sql.SQL("""
      insert into {table} ({columns})
      select {values}
      from generate_series(2, %s) as copy (number)
      cross join {table} as original
    """).format(
        table=table,
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
        values=sql.SQL(", ").join(values),
    )
    cursor.execute(statement, [scale])


@contextmanager
def _checks_aside(cursor: psycopg.Cursor) -> Iterator[None]:
    """Drop the growing tables' foreign keys and plain indexes, and make them again as they were.

    Made on full tables they take one pass each. Kept up row by row they took three quarters of the
    time. Primary keys and unique constraints stay.
    """
    tables = [f"public.{table}" for table, _, _ in GROWING]
    dropping, making = [], []
    for drop, make in cursor.execute(CHECKS, {"tables": tables}).fetchall():
        dropping.append(drop)
        making.append(make)
    cursor.execute("; ".join(dropping))
    yield
    cursor.execute("; ".join(making))
