"""What a step that can't be in a transaction leaves behind where it fails: an invalid index."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from pymilk.database.catalog import project_schemas
from pymilk.database.connection import Connection
from pymilk.project.statements import Statement, tokens

# What `reindex … concurrently` calls the index that it makes, and the one that it takes away.
_MADE_BY_REINDEX = re.compile(r"_cc(?:new|old)\d*\"?$")


def names(statement: Statement, qualified: str) -> bool:
    """Whether a statement names an object, given as the server quotes it."""
    named = {
        piece.text.lower() if piece.kind == "word" else _unquoted(piece.text)
        for piece in tokens(statement.text)
        if piece.kind in {"word", "identifier"}
    }
    return _unquoted(qualified.rpartition(".")[2]) in named


def _unquoted(name: str) -> str:
    """A name without its quotes."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def invalid_indexes(connection: Connection) -> frozenset[str]:
    """The indexes of the project that are invalid now, by their quoted names.

    One that somebody is making concurrently is invalid until it is whole.
    """
    rows = connection.execute(
        "select quote_ident(n.nspname) || '.' || quote_ident(c.relname)"
        " from pg_catalog.pg_index as i"
        " inner join pg_catalog.pg_class as c on i.indexrelid = c.oid"
        " inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid"
        " where not i.indisvalid and c.relkind = 'i' and n.nspname = any(%s)",
        (list(project_schemas(connection)),),
    ).fetchall()
    return frozenset(row[0] for row in rows)


def drop_left_behind(
    connection: Connection, statement: Statement, known: Iterable[str], wait_seconds: float
) -> None:
    """Drop the invalid indexes of a statement; those of others may be just in the making.

    Args:
        connection: Outside of any transaction.
        statement: What failed or was cut off.
        known: Those that had been there before it.
        wait_seconds: How long to queue for each.

    Raises:
        psycopg.Error: It was not to be had.
    """
    reindexes = statement.words[:1] == ("reindex",)
    for name in sorted(invalid_indexes(connection) - set(known)):
        if names(statement, name) or (reindexes and _MADE_BY_REINDEX.search(name)):
            with queueing_for(connection, wait_seconds):
                # The server has quoted it.
                connection.execute(f"drop index concurrently if exists {name}".encode())


@contextmanager
def queueing_for(connection: Connection, seconds: float) -> Iterator[None]:
    """Queue for a lock for no longer than that, outside of transactions; then as before."""
    row = connection.execute("select current_setting('lock_timeout')").fetchone()
    _set_lock_timeout(connection, f"{max(1.0, seconds * 1000):.0f}")
    try:
        yield
    finally:
        if not connection.closed:
            _set_lock_timeout(connection, str(row[0]) if row else "0")


def _set_lock_timeout(connection: Connection, milliseconds: str) -> None:
    connection.execute("select set_config('lock_timeout', %s, false)", (milliseconds,))
