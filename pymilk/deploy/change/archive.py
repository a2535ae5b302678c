"""What a rollback would take away: found, listed, and kept for the next deploy to give back.

The rollback script stays a plain inverse. What it drops follows from the two schemas recorded by
the deploy: tables and columns that are in the one after it and not in the one before it.

Values are kept as text, which every type comes back from unchanged: so the archive depends on none
of the types that the rollback may drop.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from psycopg import sql

from pymilk.database.catalog import Catalog, project_schemas
from pymilk.database.connection import Connection
from pymilk.database.contents import Table, read_key, read_tables
from pymilk.problem import Problem

# Types that have no `=`.
_INCOMPARABLE = frozenset({"json", "xml", "point", "polygon"})
_TRANSACTION_TIME = re.compile(r"timezone\('[^']*'::text, now\(\)\)|\(?now\(\)")


@dataclass(frozen=True)
class Loss:
    """Rows that would be gone or changed after a rollback.

    Attributes:
        kind: `table` (dropped with its rows), `column` (dropped with its values) or `changed`
            (rows of a table that stays, in their state before).
        table: Which table.
        columns: The columns concerned.
        rows: How many rows.
        sample: The beginning of one of them, for a person.
    """

    kind: str
    table: Table
    columns: tuple[str, ...]
    rows: int
    sample: str

    def __str__(self) -> str:
        what = {
            "table": f"table {self.table.qualified}",
            "column": f"column {self.table.qualified}.{', '.join(self.columns)}",
            "changed": f"changed in {self.table.qualified}",
        }[self.kind]
        return f"{what}: {self.rows:,} row(s), like {self.sample}…"


class CannotBeKept(Problem):
    """Values that would go and could not be given back: nothing was changed."""


@dataclass(frozen=True)
class Vanishing:
    """What a rollback drops, from the recorded schemas.

    Attributes:
        tables: Whole tables.
        columns: Table that stays → columns that go.
    """

    tables: tuple[Table, ...]
    columns: Mapping[Table, tuple[str, ...]]

    def to_lock(self) -> tuple[Table, ...]:
        """The tables that nobody may write to from here on, or rows would slip through."""
        return (*self.tables, *self.columns)


def find_vanishing(connection: Connection, before: Catalog, after: Catalog) -> Vanishing:
    """What is in `after` (the gap deployed) and not in `before` (the gap rolled back)."""
    gone = set(after.difference(before).vanished)
    tables = read_tables(connection, project_schemas(connection))
    quoted = _quoted(connection, (name for t in tables for name in (t.schema, t.name, *t.columns)))
    names = {table: f"{quoted[table.schema]}.{quoted[table.name]}" for table in tables}
    whole = tuple(table for table in tables if f"table {names[table]}" in gone)
    parts = {
        table: columns
        for table in tables
        if table not in whole
        and (
            columns := tuple(
                column
                for column in table.columns
                if f"column {names[table]}.{quoted[column]}" in gone
            )
        )
    }
    return Vanishing(whole, parts)


def find_losses(connection: Connection, vanishing: Vanishing) -> tuple[Loss, ...]:
    """The rows that would go, in the caller's transaction."""
    losses = [
        _loss(connection, "table", table, table.columns, sql.SQL("true"))
        for table in vanishing.tables
    ]
    losses += [
        _loss(connection, "column", table, columns, holds_values(connection, table, columns))
        for table, columns in vanishing.columns.items()
    ]
    return tuple(loss for loss in losses if loss.rows)


def keep(connection: Connection, version: str, losses: Iterable[Loss]) -> None:
    """Copy what is about to go into the archive, in the caller's transaction.

    Raises:
        CannotBeKept: Values of a column belong to rows that nothing tells apart.
    """
    for loss in losses:
        kept = loss.columns
        condition: sql.Composable = sql.SQL("true")
        if loss.kind == "column":
            if not read_key(connection, loss.table):
                raise CannotBeKept(
                    f"{loss.table.qualified} has no primary key: the values of"
                    f" {', '.join(loss.columns)} could be kept, but never given back.",
                    state="Nothing was changed.",
                    todo="Give the table a primary key, or copy the values yourself and set the"
                    " columns to null.",
                )
            kept = _kept_columns(connection, loss.kind, loss.table, loss.columns)
            condition = holds_values(connection, loss.table, loss.columns)
        query = sql.SQL("select {} from only {} as t where {}").format(
            texts(kept), loss.table.identifier, condition
        )
        keep_rows(connection, version, loss, query)


def keep_rows(connection: Connection, version: str, loss: Loss, query: sql.Composed) -> None:
    """Copy the rows that `query` gives into a new archive table, and register it."""
    row = connection.execute(
        "select count(*) + 1 from pymilk.archives where version = %s", (version,)
    ).fetchone()
    number = row[0] if row else 1
    name = f"{version}_{number}_{loss.table.schema}_{loss.table.name}"[:63]
    connection.execute(
        sql.SQL("create table {} as {}").format(sql.Identifier("pymilk_archive", name), query)
    )
    connection.execute(
        "insert into pymilk.archives (version, kind, schema_name, table_name, column_names,"
        " key_columns, archive_name, row_count) values (%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            version,
            loss.kind,
            loss.table.schema,
            loss.table.name,
            list(loss.columns),
            list(read_key(connection, loss.table)),
            name,
            loss.rows,
        ),
    )


def _loss(
    connection: Connection,
    kind: str,
    table: Table,
    columns: tuple[str, ...],
    condition: sql.Composable,
) -> Loss:
    count = connection.execute(
        sql.SQL("select count(*) from only {} as t where {}").format(table.identifier, condition)
    ).fetchone()
    sample = connection.execute(
        sql.SQL("select left(row({})::text, 72) from only {} as t where {} limit 1").format(
            _list(_kept_columns(connection, kind, table, columns)), table.identifier, condition
        )
    ).fetchone()
    return Loss(kind, table, columns, count[0] if count else 0, sample[0] if sample else "")


def _kept_columns(
    connection: Connection, kind: str, table: Table, columns: tuple[str, ...]
) -> tuple[str, ...]:
    """Of a column that goes, its values and the key to put them back by."""
    if kind != "column":
        return columns
    return tuple(dict.fromkeys((*read_key(connection, table), *columns)))


def holds_values(connection: Connection, table: Table, columns: tuple[str, ...]) -> sql.Composed:
    """Rows in which a column holds something other than what a new row gets by default."""
    return sql.SQL(" or ").join(values_held(connection, table, columns).values())


def values_held(
    connection: Connection, table: Table, columns: tuple[str, ...]
) -> Mapping[str, sql.Composed]:
    """Column → whether it holds something other than what a new row gets by default."""
    known = connection.execute(
        "select t.attname, format_type(t.atttypid, null), pg_get_expr(d.adbin, d.adrelid)"
        " from pg_attribute as t"
        " left join pg_attrdef as d on d.adrelid = t.attrelid and d.adnum = t.attnum"
        " where t.attrelid = %s::regclass and t.attname = any(%s)",
        (table.identifier.as_string(connection), list(columns)),
    ).fetchall()
    return {
        # The default's text is the server's own.
        column: sql.SQL("({column}{text} is distinct from ({default}){text})").format(
            column=sql.Identifier("t", column),
            default=sql.SQL("null" if default is None or _calls(default) else default),
            text=sql.SQL("::text" if kind.removesuffix("[]") in _INCOMPARABLE else ""),
        )
        for column, kind, default in known
    }


def _calls(default: str) -> bool:
    """Whether it calls something: that may give another value each time, or use up a number.

    The time of the transaction is the same all through the deploy that adds the column.
    """
    return "(" in _TRANSACTION_TIME.sub("", default)


def texts(columns: Iterable[str]) -> sql.Composed:
    """Columns as text, under their own names."""
    return sql.SQL(", ").join(
        sql.SQL("{0}::text as {0}").format(sql.Identifier(column)) for column in columns
    )


def _list(columns: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(column) for column in columns)


def _quoted(connection: Connection, names: Iterable[str]) -> Mapping[str, str]:
    """Each name as the catalog query writes it; only the server knows its reserved words."""
    return dict(
        connection.execute(
            "select n, quote_ident(n) from unnest(%s::text[]) as n", (list(set(names)),)
        ).fetchall()
    )
