"""The project's own figures and invariants, read in one transaction."""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from psycopg import sql
from psycopg.rows import TupleRow

from pymilk.database.connection import Connection
from pymilk.database.contents import Table
from pymilk.deploy.basis.evidence import State, Violations
from pymilk.deploy.basis.sample import key_of
from pymilk.deploy.change.one_go import Cursor, in_one_go
from pymilk.deploy.change.script import ScriptFailed, read_settings
from pymilk.project.migrations import Script
from pymilk.project.query_header import read_header


class Answer(NamedTuple):
    """What a query gave: what its columns are called, and its rows."""

    columns: tuple[str, ...]
    rows: list[TupleRow]


def read_state(
    connection: Connection, queries: Iterable[Script], left_out: Collection[str] = ()
) -> State:
    """Run the state queries: the first column is the key, the others are figures.

    But for the one that says what people call the key: who is renamed owes what he owed.

    Args:
        connection: In a transaction.
        queries: The project's.
        left_out: Those that can't be read now, by their short paths: they are not in it.

    Raises:
        ScriptFailed: One of them can't be run, or gives a key twice.
    """
    return {
        query.path.stem: _figures(query, answer)
        for query, answer in _read(connection, queries, left_out)
    }


def _figures(query: Script, answer: Answer) -> Mapping[str, tuple[str, ...]]:
    rows, name = answer.rows, read_header(query.text).name
    kept = [place for place, column in enumerate(answer.columns) if place and column != name]
    figures = {str(row[0]): tuple(str(row[place]) for place in kept) for row in rows}
    if len(figures) < len(rows):
        problem = ScriptFailed(
            f"{query.short_path} gives a key twice, so that one row would hide the other.",
            todo="Make its first column tell the rows apart: an id, not a name.",
        )
        problem.script = query
        raise problem
    return figures


def differing_figures(before: State, after: State) -> tuple[str, ...]:
    """Each figure that isn't what it was, one line each; of the queries that were read before."""
    return tuple(
        f"{query} {key}: {_in_words(before[query].get(key))} → {_in_words(figures)}"
        for query, moved in moved_figures(before, after).items()
        for key, figures in moved.items()
    )


def moved_figures(
    before: State, after: State
) -> Mapping[str, Mapping[str, tuple[str, ...] | None]]:
    """Query → key → its figures after, of those that moved; none where a key is gone."""
    return {
        query: {
            key: after[query].get(key)
            for key in dict.fromkeys((*figures, *after[query]))
            if figures.get(key) != after[query].get(key)
        }
        for query, figures in before.items()
    }


def read_violations(
    connection: Connection, queries: Iterable[Script], left_out: Collection[str] = ()
) -> Violations:
    """Run the invariant queries; every row is a violation.

    Args:
        connection: In a transaction.
        queries: The project's.
        left_out: Those of which nothing is there yet, by their short paths: nothing violates them.

    Raises:
        ScriptFailed: One of them can't be run.
    """
    queries = tuple(queries)
    return {query.path.stem: frozenset() for query in queries} | {
        query.path.stem: frozenset(tuple(str(value) for value in row) for row in answer.rows)
        for query, answer in _read(connection, queries, left_out)
    }


def _read(
    connection: Connection, queries: Iterable[Script], left_out: Collection[str]
) -> Iterable[tuple[Script, Answer]]:
    """Each query's rows; all of them are asked for in one go."""
    queries = tuple(query for query in queries if query.short_path not in left_out)
    if not queries:
        return ()
    with in_one_go(connection, read_settings(connection)) as go:
        sent = [(query, go.read(query)) for query in queries]
    return ((query, _answer(query, cursor)) for query, cursor in sent)


def _answer(query: Script, cursor: Cursor | None) -> Answer:
    if cursor is None or not cursor.description:
        # An emptied file would count as books that hold, on either side of the change.
        problem = ScriptFailed(
            f"{query.short_path} holds no query, so nothing is compared.",
            todo="Write its query, or delete the file.",
        )
        problem.script = query
        raise problem
    return Answer(tuple(column.name for column in cursor.description), cursor.fetchall())


def new_violations(before: Violations, after: Violations) -> tuple[str, ...]:
    """Violations that weren't there before, one line each."""
    return tuple(
        f"{name}: {', '.join(row)}"
        for name, rows in after.items()
        for row in sorted(rows - before.get(name, frozenset()))
    )


def newly_violating(before: Violations, after: Violations) -> tuple[str, ...]:
    """Violations of what violated nothing before, one line each.

    What is said of an old one may move as people pay: of the whole dairy's books it always does.
    """
    known = {name: {key_of(row) for row in rows} for name, rows in before.items()}
    return tuple(
        f"{name}: {', '.join(row)}"
        for name, rows in after.items()
        for row in sorted(rows)
        if key_of(row) not in known.get(name, ())
    )


def count_rows(connection: Connection, tables: Iterable[Table]) -> Mapping[str, int]:
    """Rows of each table, in one statement, so that they belong to one moment.

    As one row: given a row for each, Postgres starts workers to count hundreds of empty tables.
    """
    tables = tuple(tables)
    counts = sql.SQL(", ").join(
        sql.SQL("(select count(*) from only {})").format(table.identifier) for table in tables
    )
    row = connection.execute(sql.SQL("select array[{}]::bigint[]").format(counts)).fetchone()
    return dict(zip((table.qualified for table in tables), row[0] if row else (), strict=True))


def _in_words(figures: tuple[str, ...] | None) -> str:
    return "absent" if figures is None else ", ".join(figures)
