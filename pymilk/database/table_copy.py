"""A restored table's rows, carried from the throw-away server into another database."""

from dataclasses import dataclass

from psycopg import sql

from pymilk.database.connection import Connection
from pymilk.database.contents import Table, read_contents


@dataclass(frozen=True)
class Column:
    """One column as it can be made elsewhere.

    Attributes:
        name: Its name.
        type: Its type as SQL says it, with its length.
        generated: Whether its values follow from others.
    """

    name: str
    type: str
    generated: bool


def read_columns(connection: Connection, table: Table) -> tuple[Column, ...]:
    """The columns of a table, in their order; none where there is no such table."""
    with connection.transaction():
        # Types are named in full, so that they mean the same elsewhere.
        connection.execute("set local search_path = pg_catalog")
        rows = connection.execute(
            """
            select t.attname, format_type(t.atttypid, t.atttypmod), t.attgenerated <> ''
            from pg_attribute as t
            where t.attrelid = to_regclass(%s) and t.attnum > 0 and not t.attisdropped
            order by t.attnum
            """,
            (table.identifier.as_string(connection),),
        ).fetchall()
    return tuple(Column(*row) for row in rows)


def known_types(connection: Connection, columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """The same columns, as text where this database doesn't know their type (any more)."""
    return tuple(
        column if _knows(connection, column.type) else Column(column.name, "text", column.generated)
        for column in columns
    )


def _knows(connection: Connection, name: str) -> bool:
    row = connection.execute(
        "select to_regtype(regexp_replace(%s, '\\(.*\\)', '')) is not null", (name,)
    ).fetchone()
    return bool(row and row[0])


def definition(columns: tuple[Column, ...]) -> sql.Composable:
    """The columns as `create table` wants them: values only, no rules."""
    return sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(column.type))
        for column in columns
    )


def carry(
    source: Connection,
    table: Table,
    columns: tuple[Column, ...],
    target: Connection,
    into: sql.Composable,
) -> None:
    """Copy the rows of a table into one that has these columns."""
    names = sql.SQL(", ").join(sql.Identifier(column.name) for column in columns)
    out = sql.SQL("copy (select {} from only {}) to stdout").format(names, table.identifier)
    into_it = sql.SQL("copy {} ({}) from stdin").format(into, names)
    with (
        source.cursor().copy(out) as blocks,
        target.cursor() as cursor,
        cursor.copy(into_it) as rows,
    ):
        for block in blocks:
            rows.write(block)


def equal(
    source: Connection, table: Table, target: Connection, copy: Table, columns: tuple[str, ...]
) -> bool:
    """Whether two tables hold the same rows in these columns."""
    return read_contents(source, table, columns) == read_contents(target, copy, columns)
