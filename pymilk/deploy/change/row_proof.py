"""Prove that rows survive a script: which tables it wrote to, and which rows aren't what they were.

Postgres counts what a transaction writes, so a table with no writes, the same file and the same
columns needs no look at its rows at all. Of the others a copy is made beforehand, in a second go,
and compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from psycopg import sql

from pymilk.database.catalog import project_schemas
from pymilk.database.connection import Connection
from pymilk.database.contents import Table, read_tables
from pymilk.deploy.change.archive import Loss, texts


class TouchedRows(Exception):  # noqa: N818 - a signal between attempts, never shown
    """The script wrote rows of tables that stay: go again, with a copy to compare with."""

    def __init__(self, tables: tuple[str, ...]) -> None:
        super().__init__(", ".join(tables))
        self.tables = tables


@dataclass(frozen=True)
class Marks:
    """By what writing to a table is noticed.

    Attributes:
        counts: Table → rows that this session has written to it.
        forms: Table → its file on disk and its columns.
    """

    counts: Mapping[str, int]
    forms: Mapping[str, "_Form"]


@dataclass(frozen=True)
class Watch:
    """What was known just before a script ran.

    Attributes:
        marks: By what writing is noticed.
        copies: Table → where its rows were copied.
    """

    marks: Marks
    copies: Mapping[Table, sql.Identifier]


@dataclass(frozen=True)
class _Form:
    """Where a table's rows are: another file means a rewrite, another number another column."""

    file: int
    columns: Mapping[str, int]

    def keeps_rows_of(self, before: "_Form") -> bool:
        return self.file == before.file and all(
            before.columns.get(name, number) == number for name, number in self.columns.items()
        )


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
        copies={
            table: _copy(connection, table, number)
            for number, table in enumerate(tables)
            if table.qualified in copied
        },
        marks=read_marks(connection),
    )


def read_marks(connection: Connection) -> Marks:
    """The marks at this moment of a transaction."""
    return Marks(_write_counts(connection), _forms(connection))


def tables_written(connection: Connection, since: Marks) -> frozenset[str]:
    """Tables of the project that this session has written to since."""
    now = read_marks(connection)
    counted = {name for name, count in now.counts.items() if count != since.counts.get(name, 0)}
    remade = {
        name
        for name, form in now.forms.items()
        if name in since.forms and not form.keeps_rows_of(since.forms[name])
    }
    return frozenset(counted | remade)


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
        query = sql.SQL(
            "select {columns} from {copy} except all select {texts} from only {table}"
        ).format(
            columns=sql.SQL(", ").join(sql.Identifier(column) for column in common),
            texts=texts(common),
            copy=before.copies[old],
            table=table.identifier,
        )
        rows = connection.execute(
            sql.SQL("select left(x::text, 72) from ({}) as x").format(query)
        ).fetchall()
        if rows:
            loss = Loss("changed", table, common, len(rows), rows[0][0])
            changed.append(Changed(loss, query))
    return tuple(changed)


def _refuse_untold_writes(connection: Connection, before: Watch) -> None:
    stay = set(_forms(connection)) & set(before.marks.forms)
    copied = {table.qualified for table in before.copies}
    untold = (tables_written(connection, before.marks) & stay) - copied
    if untold:
        raise TouchedRows(tuple(sorted(untold)))


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


def _forms(connection: Connection) -> Mapping[str, _Form]:
    rows = connection.execute(
        "select n.nspname || '.' || c.relname, c.relfilenode::bigint, ("
        "   select coalesce(jsonb_object_agg(t.attname, t.attnum), '{}') from pg_attribute as t"
        "   where t.attrelid = c.oid and t.attnum > 0 and not t.attisdropped)"
        " from pg_class as c inner join pg_namespace as n on c.relnamespace = n.oid"
        " where c.relkind = 'r' and n.nspname = any(%s)",
        (list(project_schemas(connection)),),
    ).fetchall()
    return {name: _Form(file, columns) for name, file, columns in rows}


def _copy(connection: Connection, table: Table, number: int) -> sql.Identifier:
    """Copy the values as text: not every type can be compared, and the script may drop types."""
    name = f"pymilk_copy_{number}"
    connection.execute(
        sql.SQL("create temporary table {} on commit drop as select {} from only {}").format(
            sql.Identifier(name), texts(table.columns), table.identifier
        )
    )
    return sql.Identifier("pg_temp", name)
