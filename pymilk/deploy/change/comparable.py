"""What can be compared across a change: queries that can be read before it and after.

One may read what the migration makes: it comes with it, or was added since. Neither the deploy nor
the way back must end there: such a query is left out, and named.
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
        query: Which one, by its short path.
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
        left_out: Queries that are known not to be comparable, by their short paths.

    Raises:
        CannotBeCompared: One can't be read now, whatever is wrong with it.
    """
    try:
        return read_state(connection, queries, left_out)
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
        return read_state(connection, queries, left_out)
    except ScriptFailed as problem:
        if reads_what_is_not_there(problem):
            raise _signal(problem) from problem
        raise


def reads_what_is_not_there(problem: ScriptFailed) -> bool:
    """Whether what a script names isn't there, rather than that something is wrong with it."""
    return isinstance(problem.__cause__, _NOT_THERE)


def _signal(problem: ScriptFailed) -> CannotBeCompared:
    return CannotBeCompared(problem.script.short_path if problem.script else "", problem.happened)
