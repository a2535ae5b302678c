"""What a project's schemas stand on in the platform's: extensions, and rows that keys point at.

A backup holds the project's own schemas. Its rows may point into the platform's (`auth.users`), and
its definitions may use extensions. A copy needs both: the extensions are created, real or stood in
for, and of the rows pointed at their keys alone, without anybody's name or address.
"""

import re
from dataclasses import dataclass

from psycopg import sql

from pymilk.database.catalog import OWN_SCHEMAS, PLATFORM_SCHEMAS
from pymilk.database.connection import Connection
from pymilk.database.extensions import Extension, read_extensions
from pymilk.project.statements import tokens

# Where services keep rows; what a migration sets up there (buckets, jobs) is on a copy as it is.
_SERVICES = sorted(
    {*PLATFORM_SCHEMAS} - {"extensions", "information_schema", "supabase_migrations"}
)
_WHOLE_ON_A_COPY = ("storage.buckets", "cron.job")
# A name with an argument list or columns after it is a function, or a key: a copy has both.
_NAMED = re.compile(rf'\b({"|".join(_SERVICES)})"?\s*\.\s*"?\w+\b"?(?!\s*\()')

_WRITTEN = re.compile(
    r"\b(?:insert\s+into|update|delete\s+from|merge\s+into|truncate(?:\s+table)?)\s+(?:only\s+)?"
    rf'"?({"|".join(_SERVICES)})"?\s*\.\s*"?(\w+)',
    re.IGNORECASE,
)

KEYS_ALONE = (
    "a copy has the keys of the platform's rows that yours point at, and nothing else of them:"
    " no address, no metadata"
)


@dataclass(frozen=True)
class Reference:
    """A foreign key from a table of the project to one of the platform's.

    Attributes:
        schema: Of the project's table.
        table: Its name.
        columns: Its columns.
        to_schema: Of the platform's table.
        to_table: Its name.
        to_columns: The columns that the others point at, in the same order.
    """

    schema: str
    table: str
    columns: tuple[str, ...]
    to_schema: str
    to_table: str
    to_columns: tuple[str, ...]


@dataclass(frozen=True)
class Platform:
    """What a backup's schemas need beside themselves.

    Attributes:
        extensions: The extensions that the database has.
        references: Foreign keys into the platform's tables.
    """

    extensions: tuple[Extension, ...] = ()
    references: tuple[Reference, ...] = ()


def read_platform(connection: Connection) -> Platform:
    """What the schemas of this database stand on."""
    references = connection.execute(
        """
        select n.nspname, c.relname, k.columns, f.nspname, r.relname, k.to_columns
        from pg_catalog.pg_constraint as o
        inner join pg_catalog.pg_class as c on o.conrelid = c.oid
        inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
        inner join pg_catalog.pg_class as r on o.confrelid = r.oid
        inner join pg_catalog.pg_namespace as f on r.relnamespace = f.oid
        cross join lateral (
            select
                array_agg(a.attname::text order by u.place) as columns,
                array_agg(b.attname::text order by u.place) as to_columns
            from unnest(o.conkey, o.confkey) with ordinality as u (mine, theirs, place)
            inner join pg_catalog.pg_attribute as a
                on a.attrelid = o.conrelid and a.attnum = u.mine
            inner join pg_catalog.pg_attribute as b
                on b.attrelid = o.confrelid and b.attnum = u.theirs
        ) as k
        where
            o.contype = 'f' and o.conparentid = 0
            and f.nspname = any(%(platform)s) and n.nspname <> all(%(hidden)s)
        order by 1, 2, 3
        """,
        {"platform": list(PLATFORM_SCHEMAS), "hidden": [*PLATFORM_SCHEMAS, *OWN_SCHEMAS]},
    ).fetchall()
    return Platform(
        read_extensions(connection),
        tuple(
            Reference(schema, table, tuple(columns), to_schema, to_table, tuple(to_columns))
            for schema, table, columns, to_schema, to_table, to_columns in references
        ),
    )


def services_in(text: str) -> frozenset[str]:
    """The platform's schemas of which a script or statement names a table."""
    return frozenset(_NAMED.findall(text))


def written_in(text: str) -> tuple[str, ...]:
    """The platform's tables that a statement writes to, by what it says.

    Only those whose rows nobody compares.
    """
    said = " ".join(
        token.text
        for token in tokens(text)
        if not token.is_comment and token.kind not in {"string", "escape_string"}
    )
    found = {f"{schema}.{table}" for schema, table in _WRITTEN.findall(said)}
    return tuple(sorted(found.difference(_WHOLE_ON_A_COPY)))


def read_scans(connection: Connection, services: frozenset[str]) -> dict[str, int]:
    """Table of these schemas → how often this transaction has looked for rows in it.

    Only tables whose rows a copy hasn't got as they are.
    """
    if not services:
        return {}
    rows = connection.execute(
        "select s.schemaname || '.' || s.relname, s.seq_scan + coalesce(s.idx_scan, 0)"
        " from pg_catalog.pg_stat_xact_user_tables as s"
        " where s.schemaname = any(%s) and s.schemaname || '.' || s.relname <> all(%s)",
        (list(services), list(_WHOLE_ON_A_COPY)),
    ).fetchall()
    return dict(rows)


def give_keys(connection: Connection, platform: Platform) -> None:
    """Put the rows that the restored ones point at into the platform's tables: their keys alone.

    Args:
        connection: As a superuser, when the rows are restored and the foreign keys are not yet.
        platform: What points where.
    """
    for one in platform.references:
        columns, keys = (
            [sql.Identifier(column) for column in names] for names in (one.columns, one.to_columns)
        )
        connection.execute(
            sql.SQL(
                "insert into {to} ({keys}) select distinct {columns} from {table}"
                " where {filled} on conflict do nothing"
            ).format(
                to=sql.Identifier(one.to_schema, one.to_table),
                keys=sql.SQL(", ").join(keys),
                columns=sql.SQL(", ").join(columns),
                table=sql.Identifier(one.schema, one.table),
                filled=sql.SQL(" and ").join(
                    sql.SQL("{} is not null").format(column) for column in columns
                ),
            )
        )
