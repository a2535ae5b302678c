"""What a rollback would take away: found, listed, kept, and given back by the next deploy.

The rollback script stays a plain inverse. What it drops follows from the two schemas recorded by
the deploy: tables and columns that are in the one after it and not in the one before it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from psycopg import sql

from pymilk.database.catalog import Catalog, project_schemas
from pymilk.database.connection import Connection
from pymilk.database.contents import Table, read_tables


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
        _loss(connection, "column", table, columns, _any_value(connection, table, columns))
        for table, columns in vanishing.columns.items()
    ]
    return tuple(loss for loss in losses if loss.rows)


def keep(connection: Connection, version: str, losses: Iterable[Loss]) -> None:
    """Copy what is about to go into the archive, in the caller's transaction."""
    for loss in losses:
        kept = _kept_columns(connection, loss.kind, loss.table, loss.columns)
        keep_rows(
            connection,
            version,
            loss,
            sql.SQL("select {} from only {}").format(_list(kept), loss.table.identifier),
        )


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
            list(_primary_key(connection, loss.table)),
            name,
            loss.rows,
        ),
    )


def give_back(connection: Connection, version: str) -> Mapping[str, int]:
    """Put archived rows back where the migration made room for them again.

    Returns:
        Table → rows given back.
    """
    given: dict[str, int] = {}
    rows = connection.execute(
        "select id, kind, schema_name, table_name, column_names, key_columns, archive_name"
        " from pymilk.archives where version = %s and kind <> 'changed'"
        " and given_back_at is null order by id",
        (version,),
    ).fetchall()
    for id_, kind, schema, name, columns, key, archive in rows:
        table = next(
            (found for found in read_tables(connection, [schema]) if found.name == name), None
        )
        if table is None:
            continue
        source = sql.Identifier("pymilk_archive", archive)
        there = [column for column in columns if column in table.columns]
        if kind == "table":
            done = connection.execute(_insert(table, there, source))
            _advance_sequences(connection, table)
        else:
            done = connection.execute(_update(table, there, key, source))
        given[table.qualified] = given.get(table.qualified, 0) + done.rowcount
        connection.execute(
            "update pymilk.archives set given_back_at = clock_timestamp() where id = %s", (id_,)
        )
    return given


def _insert(table: Table, columns: list[str], source: sql.Identifier) -> sql.Composed:
    return sql.SQL(
        "insert into {table} ({columns}) overriding system value"
        " select {columns} from {source} on conflict do nothing"
    ).format(table=table.identifier, columns=_list(columns), source=source)


def _update(
    table: Table, columns: list[str], key: list[str], source: sql.Identifier
) -> sql.Composed:
    return sql.SQL("update only {table} as t set {sets} from {source} as a where {same}").format(
        table=table.identifier,
        source=source,
        sets=sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(column), sql.Identifier("a", column))
            for column in columns
        ),
        same=sql.SQL(" and ").join(
            sql.SQL("{} = {}").format(sql.Identifier("t", column), sql.Identifier("a", column))
            for column in key
        ),
    )


def _advance_sequences(connection: Connection, table: Table) -> None:
    """Identity and serial columns go on after the highest value given back."""
    for column in table.columns:
        row = connection.execute(
            "select pg_get_serial_sequence(%s, %s)",
            (table.identifier.as_string(connection), column),
        ).fetchone()
        if row and row[0]:
            connection.execute(
                sql.SQL(
                    "select setval({}, max({})) from only {} having max({}) is not null"
                ).format(row[0], sql.Identifier(column), table.identifier, sql.Identifier(column))
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
    return (*_primary_key(connection, table), *columns) if kind == "column" else columns


def _any_value(connection: Connection, table: Table, columns: tuple[str, ...]) -> sql.Composable:
    """Rows in which a column holds something other than what a new row gets by default."""
    defaults: dict[str, str] = dict(
        connection.execute(
            "select t.attname, pg_get_expr(d.adbin, d.adrelid) from pg_attrdef as d"
            " inner join pg_attribute as t on d.adrelid = t.attrelid and d.adnum = t.attnum"
            " where d.adrelid = %s::regclass",
            (table.identifier.as_string(connection),),
        ).fetchall()
    )
    conditions: list[sql.Composable] = [
        # The default's text is the server's own.
        sql.Identifier("t", column)
        + sql.SQL(" is distinct from (")
        + sql.SQL(defaults.get(column, "null"))
        + sql.SQL(")")
        for column in columns
    ]
    return sql.SQL(" or ").join(conditions)


def _primary_key(connection: Connection, table: Table) -> tuple[str, ...]:
    rows = connection.execute(
        "select t.attname from pg_index as i"
        " inner join pg_attribute as t on t.attrelid = i.indrelid and t.attnum = any(i.indkey)"
        " where i.indisprimary and i.indrelid = to_regclass(%s) order by t.attname",
        (table.identifier.as_string(connection),),
    ).fetchall()
    return tuple(row[0] for row in rows)


def _list(columns: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(column) for column in columns)


def _quoted(connection: Connection, names: Iterable[str]) -> Mapping[str, str]:
    """Each name as the catalog query writes it; only the server knows its reserved words."""
    return dict(
        connection.execute(
            "select n, quote_ident(n) from unnest(%s::text[]) as n", (list(set(names)),)
        ).fetchall()
    )
