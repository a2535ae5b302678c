"""Calls over a direct connection to Postgres."""

import json
from collections.abc import Sequence
from decimal import Decimal
from threading import Lock
from typing import Any, Final, TypeAlias

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from pymilk.rpc import errors
from pymilk.rpc.call import Argument, Call, Json
from pymilk.rpc.sqlstates import failure

Connection: TypeAlias = psycopg.Connection[Any]

# For this transaction only, so that it can't outlive the call on a pooled connection.
SET_KEY: Final = "select set_config('pymilk.idempotency_key', %s, true)"
NO_KEY: Final = ""


class Dialled:
    """A connection of its own, opened when first needed and again after it was lost.

    Every call is one transaction, committed when the call returns.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: Connection | None = None
        self._turn = Lock()

    def execute(self, call: Call[Any], key: str | None) -> Sequence[Json]:
        """Make a call; others on this connection wait for it, whichever thread they come from."""
        with self._turn:
            return execute(self._open(), call, key)

    def close(self) -> None:
        """Close the connection; the next call would open another."""
        with self._turn:
            if self._connection is not None:
                self._connection.close()

    def _open(self) -> Connection:
        if self._connection is None or self._connection.closed:
            try:
                # Poolers that hand out a session per transaction know no prepared statements.
                self._connection = psycopg.connect(
                    self._dsn, autocommit=True, prepare_threshold=None, application_name="pymilk"
                )
            except psycopg.OperationalError as error:
                raise errors.NotConnected(str(error)) from error
        return self._connection


class Borrowed:
    """Somebody else's connection: its owner begins, commits, rolls back and closes.

    A call that fails leaves the owner's transaction as it was before the call. On a connection in
    autocommit mode a call is a transaction, as a statement would be.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._turn = Lock()

    def execute(self, call: Call[Any], key: str | None) -> Sequence[Json]:
        """Make a call inside the owner's transaction, which begins here if there is none."""
        with self._turn:
            return execute(self._connection, call, key)

    def close(self) -> None:
        """Leave the connection to its owner."""


def execute(connection: Connection, call: Call[Any], key: str | None) -> Sequence[Json]:
    """Make one call in a transaction or savepoint of its own, with this key or with none.

    Raises:
        PymilkError: The call did not come to a result.
    """
    statement, values = _statement(call)
    idle = connection.info.transaction_status == TransactionStatus.IDLE
    commits_here = connection.autocommit and idle
    committing = False
    try:
        if not connection.autocommit:
            # Opens the owner's transaction, if it isn't open, so that the block below is a
            # savepoint in it and not a transaction, which it would commit.
            connection.execute(SET_KEY, [NO_KEY])
        with connection.transaction():
            connection.execute(SET_KEY, [key or NO_KEY])
            found = connection.execute(statement, values).fetchall()
            connection.execute(SET_KEY, [NO_KEY])
            committing = commits_here
    except psycopg.Error as error:
        if not connection.closed:
            raise failure(error) from error
        lost = errors.OutcomeUnknown if committing else errors.ConnectionLost
        raise lost(str(error).strip()) from error
    return [json.loads(answer, parse_float=Decimal) for (answer,) in found]


def _statement(call: Call[Any]) -> tuple[sql.Composed, list[object]]:
    # As JSON, so that every transport reads the same and the owner's type adapters don't matter.
    arguments = sql.SQL(", ").join(
        sql.SQL("{} => %s::{}").format(sql.Identifier(each.name), sql.SQL(each.type))
        for each in call.arguments
    )
    # A column of the same name would hide the row: hence a name that no function's column has.
    statement = sql.SQL('select to_jsonb("the row")::text from {}({}) as "the row"').format(
        sql.Identifier("public", call.function), arguments
    )
    return statement, [_parameter(each) for each in call.arguments]


def _parameter(argument: Argument) -> object:
    if argument.type in ("json", "jsonb"):
        return json.dumps(argument.value)
    return argument.value
