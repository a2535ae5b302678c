"""What Postgres writes down of our definitions makes the same again: a restored copy is equal.

A rehearsal restores a dump and compares. `(a, b, c) is distinct from (x, y, z)` in a WHEN clause is
kept as nested pairs, but read back from its text as one list: equal in meaning, not in the catalog.
"""

import pytest
from psycopg import sql

from dairy.books import Books
from support.databases import Database

DEFINED = {
    "trigger": (
        "select tgname, tgrelid::regclass::text, pg_get_triggerdef(oid) from pg_trigger"
        " where not tgisinternal and tgparentid = 0 and tgrelid in (select oid from pg_class"
        " where relnamespace in ('public'::regnamespace, 'private'::regnamespace)) order by 2, 1"
    ),
    "constraint": (
        "select conname, conrelid::regclass::text, pg_get_constraintdef(oid) from pg_constraint"
        " where contype = 'c' and coninhcount = 0 and connamespace in"
        " ('public'::regnamespace, 'private'::regnamespace) order by 2, 1"
    ),
}
"""Name, table and definition of everything of a kind; a partition's goes with its whole's."""

DROP = {
    "trigger": "drop trigger {name} on {table}",
    "constraint": "alter table {table} drop constraint {name}",
}
MAKE = {"trigger": "{text}", "constraint": "alter table {table} add constraint {name} {text}"}


@pytest.mark.parametrize("kind", DEFINED)
def test_it_is_made_again_from_its_text(dairy_hardened: Database, kind: str) -> None:
    books = Books(dairy_hardened.connect())
    before = books.rows(DEFINED[kind])
    assert before != []
    for name, table, text in before:
        parts = {
            "name": sql.Identifier(name),
            "table": sql.SQL(table),
            "text": sql.SQL(text),
        }
        for statement in (DROP[kind], MAKE[kind]):
            books.connection.execute(sql.SQL(statement).format(**parts))
    assert books.rows(DEFINED[kind]) == before
