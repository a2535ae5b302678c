"""Supabase's own migration history: the table that its CLI reads and writes.

Its shape is the CLI's (`version`, `statements`, `name`); hosted projects have more columns, among
them `rollback`. Time, checksum and the rest are not kept here but in our ledger.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg.rows import TupleRow

from pymilk.database.connection import Connection
from pymilk.project.migrations import Migration
from pymilk.project.statements import split

TABLE = "supabase_migrations.schema_migrations"
_APPLIED = f"select version, coalesce(name, ''), coalesce(statements, '{{}}') from {TABLE}"  # noqa: S608


@dataclass(frozen=True)
class Applied:
    """One row of the history.

    Attributes:
        version: The migration's version.
        name: Its name, as it was then.
        statements: Its text, split; empty when whoever applied it didn't record it.
    """

    version: str
    name: str
    statements: tuple[str, ...]

    def is_edited(self, migration: Migration) -> bool:
        """Whether the file no longer says what was applied.

        Tools differ in where they split, and in what they do with comments at the end: only what
        runs is compared, with the comments that belong to it.
        """
        return bool(self.statements) and _said(self.statements) != _said([migration.up.text])


def _said(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(
        statement.text.replace("\r\n", "\n")
        for text in texts
        for statement in split(text)
        if not statement.only_comment
    )


def prepare_history(connection: Connection) -> None:
    """Make the history table where there is none, with the column for rollbacks.

    Where it is complete this only reads: even an `alter table` that finds nothing to do waits for
    every reader, and makes the next ones wait behind it.
    """
    complete = connection.execute(
        "select exists (select from pg_catalog.pg_attribute where attrelid = to_regclass(%s)"
        " and attname = 'rollback' and not attisdropped)",
        (TABLE,),
    ).fetchone()
    if complete and complete[0]:
        return
    connection.execute("create schema if not exists supabase_migrations")
    connection.execute(
        f"create table if not exists {TABLE}"
        " (version text not null primary key, statements text[], name text)"
    )
    connection.execute(f"alter table {TABLE} add column if not exists rollback text[]")


def history_exists(connection: Connection) -> bool:
    """Whether the history table is there."""
    row = connection.execute("select to_regclass(%s) is not null", (TABLE,)).fetchone()
    return bool(row and row[0])


def read_history(connection: Connection) -> tuple[Applied, ...]:
    """The applied migrations, oldest first; none where there is no history table."""
    if not history_exists(connection):
        return ()
    rows = connection.execute(f"{_APPLIED} order by version::numeric").fetchall()
    return tuple(_applied(row) for row in rows)


def read_applied(connection: Connection, version: str) -> Applied | None:
    """One applied migration; none where it isn't applied."""
    if not history_exists(connection):
        return None
    row = connection.execute(f"{_APPLIED} where version = %s", (version,)).fetchone()
    return _applied(row) if row else None


def _applied(row: TupleRow) -> Applied:
    version, name, statements = row
    return Applied(version, name, tuple(statements))


def read_versions(connection: Connection) -> tuple[str, ...]:
    """What is applied, oldest first; of their texts, which may be long, nothing is read."""
    if not history_exists(connection):
        return ()
    rows = connection.execute(
        f"select version from {TABLE} order by version::numeric"  # noqa: S608 - a constant
    ).fetchall()
    return tuple(row[0] for row in rows)


def lock_history(connection: Connection) -> None:
    """Keep every other deploy out, ours and the Supabase CLI's, while readers go on."""
    connection.execute(f"lock table {TABLE} in share row exclusive mode")


def record_applied(connection: Connection, migration: Migration) -> None:
    """Write the history row as the Supabase CLI would, and the rollback beside it."""
    rollback = [statement.text for statement in migration.down.statements] if migration.down else []
    connection.execute(
        f"insert into {TABLE} (version, statements, name, rollback)"  # noqa: S608 - a constant
        " values (%s, %s, %s, %s)",
        (
            migration.version,
            [statement.text for statement in migration.up.statements],
            migration.name,
            rollback,
        ),
    )


def forget_applied(connection: Connection, version: str) -> bool:
    """Delete the history row; whether there was one."""
    done = connection.execute(f"delete from {TABLE} where version = %s", (version,))  # noqa: S608
    return done.rowcount == 1
