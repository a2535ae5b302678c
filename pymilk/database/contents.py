"""What the tables hold, as counts and fingerprints that don't depend on the order of rows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice

from psycopg import sql

from pymilk.database.connection import Connection

# So many tables are read by one statement: of hundreds, each answer by itself is most of the time.
_AT_ONCE = 100


@dataclass(frozen=True)
class Contents:
    """One table's rows.

    Attributes:
        rows: How many.
        fingerprint: Sum of the rows' 64-bit hashes; equal rows give equal sums in any order.
    """

    rows: int
    fingerprint: str


@dataclass(frozen=True)
class Table:
    """A table with rows of its own (views and partitioned parents have none).

    Attributes:
        schema: Its schema.
        name: Its name.
        columns: Its columns, by name; generated ones follow from the others and are left out.
    """

    schema: str
    name: str
    columns: tuple[str, ...]

    @property
    def qualified(self) -> str:
        """`schema.name`, for people and as a key."""
        return f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        """For statements."""
        return sql.Identifier(self.schema, self.name)


def read_tables(connection: Connection, schemas: Iterable[str]) -> tuple[Table, ...]:
    """The tables of some schemas, in order."""
    rows = connection.execute(
        """
        select
            n.nspname,
            c.relname,
            array(
                select t.attname::text from pg_catalog.pg_attribute as t
                where
                    t.attrelid = c.oid and t.attnum > 0 and not t.attisdropped
                    and t.attgenerated = ''
                order by t.attname
            )
        from pg_catalog.pg_class as c
        inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
        where c.relkind = 'r' and n.nspname = any(%s)
        order by n.nspname, c.relname
        """,
        (list(schemas),),
    ).fetchall()
    return tuple(Table(schema, name, tuple(columns)) for schema, name, columns in rows)


def read_key(connection: Connection, table: Table) -> tuple[str, ...]:
    """The columns that tell a table's rows apart: of its primary key; none where it has none."""
    rows = connection.execute(
        """
        select t.attname
        from pg_catalog.pg_index as i
        cross join lateral unnest(i.indkey) with ordinality as k (number, place)
        inner join pg_catalog.pg_attribute as t
            on i.indrelid = t.attrelid and t.attnum = k.number
        where i.indisprimary and i.indrelid = to_regclass(%s)
        order by k.place
        """,
        (table.identifier.as_string(connection),),
    ).fetchall()
    return tuple(row[0] for row in rows)


def read_contents(connection: Connection, table: Table, columns: tuple[str, ...]) -> Contents:
    """Count and fingerprint a table over the given columns.

    The hash is Postgres's own `hashtextextended`, which hash partitioning relies on to stay the
    same between major versions; values print alike because `connect` fixes the settings for that.
    The sum of 64-bit integers is exact, and four times as fast as a sum of numerics.
    """
    return read_contents_together(connection, (replace(table, columns=columns),))[table.qualified]


def read_contents_together(
    connection: Connection, tables: Iterable[Table]
) -> Mapping[str, Contents]:
    """The same of some tables in one statement: of one moment, and with one answer to wait for.

    As one row: given a row for each, Postgres starts workers for hundreds of empty tables.
    """
    tables = tuple(tables)
    each = sql.SQL(", ").join(map(_fingerprinting, tables))
    row = connection.execute(sql.SQL("select array[{}]::text[]").format(each)).fetchone()
    found = row[0] if row else ()
    return {
        table.qualified: Contents(int(rows), fingerprint)
        for table, (rows, fingerprint) in zip(tables, found, strict=True)
    }


def _fingerprinting(table: Table) -> sql.Composed:
    whole_row = sql.SQL("row({})::text").format(
        sql.SQL(", ").join(sql.Identifier("t", column) for column in table.columns)
    )
    return sql.SQL(
        "(select array[count(*)::text,"
        " coalesce(sum(pg_catalog.hashtextextended({row}, 0)), 0)::text]"
        " from only {table} as t)"
    ).format(row=whole_row, table=table.identifier)


def read_all_contents(connection: Connection, tables: Iterable[Table]) -> Mapping[str, Contents]:
    """Count and fingerprint whole tables, by qualified name; many of them at once."""
    waiting = iter(tables)
    found: dict[str, Contents] = {}
    while some := tuple(islice(waiting, _AT_ONCE)):
        found |= read_contents_together(connection, some)
    return found


def differing_tables(
    before: Mapping[str, Contents], after: Mapping[str, Contents]
) -> tuple[str, ...]:
    """Tables that are in one only, or whose rows differ, with the counts in words."""
    return tuple(
        f"{name}: {_in_words(before.get(name))} → {_in_words(after.get(name))}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    )


def read_positions(connection: Connection, schemas: Iterable[str]) -> Mapping[str, int | None]:
    """How far each sequence, by its name in SQL, has counted; none where it never did."""
    rows = connection.execute(
        "select quote_ident(schemaname) || '.' || quote_ident(sequencename), last_value"
        " from pg_catalog.pg_sequences where schemaname = any(%s) order by 1",
        (list(schemas),),
    ).fetchall()
    return dict(rows)


def turned_back(
    before: Mapping[str, int | None], after: Mapping[str, int | None]
) -> Mapping[str, int]:
    """Sequences that would give numbers a second time, with where they stood before."""
    return {
        sequence: position
        for sequence, position in before.items()
        if position is not None and sequence in after and (after[sequence] or 0) < position
    }


def _in_words(contents: Contents | None) -> str:
    return "absent" if contents is None else f"{contents.rows:,} rows ({contents.fingerprint[-6:]})"
