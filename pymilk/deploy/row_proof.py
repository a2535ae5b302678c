"""Prove that rows survive a script: which tables it wrote to, and which rows aren't what they were.

Postgres counts what a transaction writes, so a table with no writes and the same file needs no
look at its rows at all. Of the others a copy is made beforehand, in a second go, and compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from psycopg import sql

from pymilk.database.catalog import project_schemas
from pymilk.database.connection import Connection
from pymilk.database.contents import Table, read_tables
from pymilk.deploy.archive import Loss


class TouchedRows(Exception):  # noqa: N818 - a signal between attempts, never shown
    """The script wrote rows of tables that stay: go again, with a copy to compare with."""

    def __init__(self, tables: tuple[str, ...]) -> None:
        super().__init__(", ".join(tables))
        self.tables = tables


@dataclass(frozen=True)
class Watch:
    """What was known just before a script ran.

    Attributes:
        counts: Table → rows that this transaction had written to it.
        files: Table → its file on disk.
        copies: Table → where its rows were copied.
    """

    counts: Mapping[str, int]
    files: Mapping[str, int]
    copies: Mapping[Table, sql.Identifier]


@dataclass(frozen=True)
class Changed:
    """Rows of a table that are not there any more as they were.

    Attributes:
        loss: Which, in words.
        query: Gives those rows as they were, while the transaction lasts.
    """

    loss: Loss
    query: sql.Composed


def watch(connection: Connection, copied: tuple[str, ...]) -> Watch:
    """Note the state just before a script; the rows of the tables in `copied` are kept aside."""
    tables = read_tables(connection, project_schemas(connection))
    return Watch(
        copies={t: _copy(connection, t) for t in tables if t.qualified in copied},
        counts=_write_counts(connection),
        files=_files(connection),
    )


def changed_rows(connection: Connection, before: Watch) -> tuple[Changed, ...]:
    """The rows that aren't as they were, in the columns that both have.

    Raises:
        TouchedRows: The script wrote to a table of which there is no copy to compare with.
    """
    _refuse_untold_writes(connection, before)
    changed = []
    for table in read_tables(connection, project_schemas(connection)):
        old = next((found for found in before.copies if found.qualified == table.qualified), None)
        if old is None:
            continue
        common = tuple(column for column in old.columns if column in table.columns)
        columns = sql.SQL(", ").join(sql.Identifier(column) for column in common)
        query = sql.SQL(
            "select {columns} from {copy} except all select {columns} from only {table}"
        ).format(columns=columns, copy=before.copies[old], table=table.identifier)
        rows = connection.execute(
            sql.SQL("select left(x::text, 72) from ({}) as x").format(query)
        ).fetchall()
        if rows:
            loss = Loss("changed", table, common, len(rows), rows[0][0])
            changed.append(Changed(loss, query))
    return tuple(changed)


def _refuse_untold_writes(connection: Connection, before: Watch) -> None:
    counts, files = _write_counts(connection), _files(connection)
    written = {name for name, count in counts.items() if count != before.counts.get(name, 0)}
    written |= {name for name, file in files.items() if before.files.get(name, file) != file}
    copied = {table.qualified for table in before.copies}
    untold = tuple(sorted((written & set(files) & set(before.files)) - copied))
    if untold:
        raise TouchedRows(untold)


def _write_counts(connection: Connection) -> Mapping[str, int]:
    """Table → rows that this transaction has written so far, as Postgres counts them.

    The counters may still hold writes of an earlier transaction of this session; that only makes
    us compare a table more than needed.
    """
    rows = connection.execute(
        "select schemaname || '.' || relname, n_tup_ins + n_tup_upd + n_tup_del"
        " from pg_stat_xact_user_tables where schemaname = any(%s)",
        (list(project_schemas(connection)),),
    ).fetchall()
    return dict(rows)


def _files(connection: Connection) -> Mapping[str, int]:
    """Table → file on disk; a table that is rewritten or truncated gets another one."""
    rows = connection.execute(
        "select n.nspname || '.' || c.relname, c.relfilenode::bigint from pg_class as c"
        " inner join pg_namespace as n on c.relnamespace = n.oid"
        " where c.relkind = 'r' and n.nspname = any(%s)",
        (list(project_schemas(connection)),),
    ).fetchall()
    return dict(rows)


def _copy(connection: Connection, table: Table) -> sql.Identifier:
    name = f"pymilk_copy_{table.schema}_{table.name}"[:63]
    connection.execute(
        sql.SQL("create temporary table {} on commit drop as table only {}").format(
            sql.Identifier(name), table.identifier
        )
    )
    return sql.Identifier("pg_temp", name)
