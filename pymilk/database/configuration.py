"""What migrations set up as rows of the platform's tables: buckets of storage, jobs of cron.

To people these are a part of the schema: a migration makes them, a rollback takes them back, and
one that was made by hand is drift. What the services count in them (when a bucket was made, a job's
number) is not.
"""

from dataclasses import dataclass

from psycopg import sql

from pymilk.database.connection import Connection


@dataclass(frozen=True)
class _Kind:
    """One table whose rows are configuration.

    Attributes:
        name: What one of its rows is called.
        table: Schema and name.
        known_by: What tells its rows apart, an SQL expression.
        columns: What they say.
        call: What an owner calls who may not write to the table, an SQL expression.
    """

    name: str
    table: tuple[str, str]
    known_by: str
    columns: tuple[str, ...]
    call: str = "null"


_KINDS = (
    _Kind(
        "bucket",
        ("storage", "buckets"),
        "id",
        ("id", "name", "public", "file_size_limit", "allowed_mime_types"),
    ),
    _Kind(
        "job",
        ("cron", "job"),
        "coalesce(jobname, schedule || ' ' || command)",
        ("jobname", "schedule", "command", "username", "active"),
        "format('select cron.schedule(%s%L, %L)', quote_literal(jobname) || ', ', schedule,"
        " command)",
    ),
)


@dataclass(frozen=True)
class Setup:
    """One row of configuration.

    Attributes:
        object: Its kind and name, as a catalog calls an object.
        definition: What it says, a line a column.
        statement: What makes it again, for a superuser.
        owners: The same for the project's owner.
    """

    object: str
    definition: str
    statement: str
    owners: str


def read_configuration(connection: Connection) -> tuple[Setup, ...]:
    """The rows that are there, as far as this role may see them, in order."""
    return tuple(setup for kind in _readable(connection) for setup in _read(connection, kind))


def clear_configuration(connection: Connection) -> None:
    """Take all of it away: of a throw-away copy, before another one's is restored."""
    for kind in _readable(connection):
        connection.execute(sql.SQL("delete from {}").format(sql.Identifier(*kind.table)))


def _readable(connection: Connection) -> tuple[_Kind, ...]:
    """Those that are there for this role to read, found in one question."""
    rows = connection.execute(
        "select n.nspname, c.relname from pg_catalog.pg_class as c"
        " inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid"
        " where (n.nspname || '.' || c.relname) = any(%s)"
        " and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')",
        ([".".join(kind.table) for kind in _KINDS],),
    ).fetchall()
    return tuple(kind for kind in _KINDS if kind.table in rows)


def _read(connection: Connection, kind: _Kind) -> list[Setup]:
    columns = sql.SQL(", ").join(map(sql.Identifier, kind.columns))
    rows = connection.execute(
        sql.SQL("select {}, {}, {} from {} order by 1").format(
            sql.SQL(kind.known_by), sql.SQL(kind.call), columns, sql.Identifier(*kind.table)
        )
    ).fetchall()
    return [
        Setup(
            f"{kind.name} {name}",
            "\n".join(
                f"{column} {value}"
                for column, value in zip(kind.columns, values, strict=True)
                if value is not None
            ),
            insert := sql.SQL("insert into {} ({}) values ({})")
            .format(
                sql.Identifier(*kind.table), columns, sql.SQL(", ").join(map(sql.Literal, values))
            )
            .as_string(connection),
            call or insert,
        )
        for name, call, *values in rows
    ]
