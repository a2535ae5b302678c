"""The most important tables as CSV: readable when no Postgres is at hand."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from psycopg import sql

from pymilk.database.connection import Connection
from pymilk.database.contents import Table, read_key

_READ_ME = """\
The most important tables as CSV, from the same moment as the dump beside them.

UTF-8, comma-separated, one line of column names, quotes doubled inside quotes. An empty field is
null; a quoted empty field ("") is an empty text. Times are UTC. Any spreadsheet opens them; import
phone numbers and ids as text, or their leading zeros go.

manifest.json says how many rows each of them has ("critical"), SHA256SUMS that nothing was altered:
sha256sum --check SHA256SUMS, in the folder above.
"""


def in_public(name: str) -> str:
    """A table's full name: one without a schema is meant in `public`."""
    return name if "." in name else f"public.{name}"


def chosen(tables: Iterable[Table], names: Iterable[str]) -> tuple[Table, ...]:
    """The tables of these names, those that there are."""
    by_name = {table.qualified: table for table in tables}
    wanted = map(in_public, names)
    return tuple(by_name[name] for name in wanted if name in by_name)


def export_critical(
    connection: Connection, tables: Iterable[Table], folder: Path
) -> Mapping[str, int]:
    """Write these tables as CSV, as the current transaction sees them; gives the rows of each.

    Raises:
        OSError: They can't be written.
    """
    tables = tuple(tables)
    if not tables:
        return {}
    folder.mkdir(mode=0o700)
    (folder / "README.txt").write_text(_READ_ME, encoding="utf-8")
    return {table.qualified: _export(connection, table, folder) for table in tables}


def _export(connection: Connection, table: Table, folder: Path) -> int:
    key = read_key(connection, table)
    statement = sql.SQL(
        "copy (select t.* from only {table} as t order by {key})"
        " to stdout (format csv, header, encoding 'UTF8')"
    ).format(
        table=table.identifier,
        # By the key, so that two exports can be laid side by side.
        key=sql.SQL(", ").join(map(sql.Identifier, key)) if key else sql.SQL("(select null)"),
    )
    path = folder / f"{table.qualified.replace('/', '_')}.csv"
    with connection.cursor() as cursor:
        with cursor.copy(statement) as rows, path.open("wb") as file:
            for block in rows:
                file.write(block)
        return cursor.rowcount
