"""The figures that can be compared across a rollback: those that can be read before it and after.

A query that was added since the deploy may read what the migration made, and what goes with it. The
way back must not end there: such a query is left out, and named.
"""

from collections.abc import Collection, Iterable

from psycopg import errors

from pymilk.database.connection import Connection
from pymilk.deploy.basis.evidence import State
from pymilk.deploy.change.figures import read_state
from pymilk.deploy.change.script import ScriptFailed
from pymilk.project.migrations import Script

# What Postgres says of a query whose tables, columns, functions, types or schema aren't there.
_NOT_THERE = (
    errors.UndefinedTable,
    errors.UndefinedColumn,
    errors.UndefinedFunction,
    errors.UndefinedObject,
    errors.InvalidSchemaName,
)


class CannotBeCompared(Exception):  # noqa: N818 - a signal to go at it again, not a failure
    """A query can be read on one side only; the transaction is to be tried without it.

    Attributes:
        query: Which one, by its file's name.
        why: What Postgres said of it, with its line.
    """

    def __init__(self, query: str, why: str) -> None:
        super().__init__(why)
        self.query = query
        self.why = why


def read_before(
    connection: Connection, queries: Iterable[Script], left_out: Collection[str]
) -> State:
    """Read the figures that a rollback must not change.

    Args:
        connection: In the transaction, before anything is changed.
        queries: The project's.
        left_out: Queries that are known not to be comparable, by the names of their files.

    Raises:
        CannotBeCompared: One can't be read now, whatever is wrong with it.
    """
    try:
        return read_state(connection, _without(queries, left_out))
    except ScriptFailed as problem:
        raise _signal(problem) from problem


def read_after(
    connection: Connection, queries: Iterable[Script], left_out: Collection[str]
) -> State:
    """Read them again, once the schema is known to be the one from before the deploy.

    Raises:
        CannotBeCompared: What one of them reads has gone with the migration.
        ScriptFailed: One that could be read before fails for another reason.
    """
    try:
        return read_state(connection, _without(queries, left_out))
    except ScriptFailed as problem:
        if isinstance(problem.__cause__, _NOT_THERE):
            raise _signal(problem) from problem
        raise


def _without(queries: Iterable[Script], left_out: Collection[str]) -> tuple[Script, ...]:
    return tuple(query for query in queries if query.path.stem not in left_out)


def _signal(problem: ScriptFailed) -> CannotBeCompared:
    return CannotBeCompared(problem.script.path.stem if problem.script else "", problem.happened)
