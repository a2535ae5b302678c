"""What a backup of a project's schemas does not hold, in sentences, as the database shows it."""

from psycopg import sql

from pymilk.database.catalog import PLATFORM_SCHEMAS
from pymilk.database.connection import Connection

# Postgres's own, and what is in the backup after all.
_NOT_TOLD = ("information_schema", "supabase_migrations")


def read_left_out(connection: Connection) -> tuple[str, ...]:
    """One sentence for each kind of thing that is not in it.

    Counts are given where this role may count.
    """
    users, files = _count(connection, "auth", "users"), _count(connection, "storage", "objects")
    schemas = connection.execute(
        "select nspname from pg_catalog.pg_namespace where nspname = any(%s) order by 1",
        ([name for name in PLATFORM_SCHEMAS if name not in _NOT_TOLD],),
    ).fetchall()
    extensions = connection.execute(
        "select extname from pg_catalog.pg_extension where extname <> 'plpgsql' order by 1"
    ).fetchall()
    large = connection.execute("select count(*) from pg_catalog.pg_largeobject_metadata").fetchone()
    return (
        f"Files in Storage{_of(files, 'file')}: copy them with 'supabase storage cp'.",
        f"The platform's schemas: {_listed(schemas)}{_of(users, 'account')}.",
        "Roles, their passwords and settings; the API's keys, edge functions and their secrets.",
        *(
            [f"Extensions: {_listed(extensions)}; a restore makes those that there are."]
            if extensions
            else []
        ),
        *([f"Large objects: {large[0]:,}."] if large and large[0] else []),
    )


def _count(connection: Connection, schema: str, table: str) -> int | None:
    readable = connection.execute(
        "select exists (select from pg_catalog.pg_class as c"
        " inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid"
        " where n.nspname = %s and c.relname = %s and c.relkind = 'r'"
        " and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select'))",
        (schema, table),
    ).fetchone()
    if not readable or not readable[0]:
        return None
    row = connection.execute(
        sql.SQL("select count(*) from {}").format(sql.Identifier(schema, table))
    ).fetchone()
    return int(row[0]) if row else None


def _of(count: int | None, what: str) -> str:
    return "" if count is None else f" ({count:,} {what}{'' if count == 1 else 's'})"


def _listed(rows: list[tuple[str]]) -> str:
    return ", ".join(row[0] for row in rows) or "none here"
