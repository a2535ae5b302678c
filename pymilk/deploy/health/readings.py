"""Queries that are read by themselves: one that fails is told, and hides no other."""

import time
from dataclasses import dataclass

import psycopg

from pymilk.database.connection import Connection
from pymilk.deploy.change.script import failure
from pymilk.project.migrations import Script


@dataclass(frozen=True)
class Reading:
    """What one query gave.

    Attributes:
        seconds: How long its statements took.
        columns: What its columns are called.
        rows: Its rows.
        failure: Why it could not be read; empty where it could.
    """

    seconds: float
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[object, ...], ...] = ()
    failure: str = ""


def read_query(connection: Connection, query: Script) -> Reading:
    """Run one query of a file, in the transaction that the connection is in.

    Of several statements the last one is the query; the others prepare it. A file without a
    statement, or whose last one gives no columns, is told like one that fails.
    """
    started = time.perf_counter()
    statement = next(iter(query.statements), None)
    try:
        # A savepoint: one that fails must not end the snapshot of the others, nor may what a file
        # sets for itself reach them.
        with connection.transaction(force_rollback=True):
            # The savepoint is our doing, and its way over the network no part of the query's time.
            started, cursor = time.perf_counter(), None
            for statement in query.statements:
                if not statement.only_comment:
                    cursor = connection.execute(statement.text.encode())
            seconds = time.perf_counter() - started
            rows = cursor.fetchall() if cursor and cursor.description else []
            columns = tuple(each.name for each in (cursor and cursor.description) or ())
    except psycopg.Error as error:
        if connection.closed or statement is None:
            raise
        found = failure(query, statement, error).happened
        return Reading(time.perf_counter() - started, failure=found)
    if not columns:
        said = f"{query.short_path}: it holds no query."
        return Reading(seconds, failure=said)
    return Reading(seconds, columns, tuple(rows))
