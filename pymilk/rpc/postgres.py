"""Calls over psycopg: on a connection of their own, out of a pool, or on somebody's open one.

A call is one message to the server: its own transaction as a whole, or a savepoint in the caller's.
Nothing is prepared, so that poolers which hand out a session per transaction do as well.
"""

# ruff: noqa: S608 - every name and text goes through `identifier` and `literal`

import json
from collections.abc import Generator, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Final, TypeAlias

import psycopg
from psycopg.pq import TransactionStatus

from pymilk.rpc import failures
from pymilk.rpc.call import Argument, Call, Json, Rows
from pymilk.rpc.protocol import INTERRUPTED, Exchange
from pymilk.rpc.reading import READABLE, parse
from pymilk.rpc.said import failure

AnyConnection: TypeAlias = psycopg.Connection[Any] | psycopg.AsyncConnection[Any]
AnyCursor: TypeAlias = psycopg.Cursor[Any] | psycopg.AsyncCursor[Any]
Answers: TypeAlias = Sequence[Sequence[bytes | None]]
"""Of each statement of a message, the first column of its rows."""

# For this transaction only, so that it can't outlive the call on a pooled connection.
SET_KEY: Final = "select pg_catalog.set_config('pymilk.idempotency_key', {}, true)"
SAVEPOINT: Final = '"pymilk call"'


def conversation(
    connection: AnyConnection, exchange: Exchange, schema: str | None
) -> Generator[bytes, Answers, Rows]:
    """Make one call: yields each message to send, takes what came back.

    Args:
        connection: What is asked for its state; nothing is sent on it from here.
        exchange: The call.
        schema: Where the function is, when it isn't where the call says.

    Raises:
        PymilkError: The call did not come to a result.
        BaseException: It was interrupted, and the connection is as it was.
    """
    if connection.closed:
        raise failures.NotConnected("The connection is closed.")
    before = connection.pgconn.transaction_status
    ours = connection.autocommit and before == TransactionStatus.IDLE
    made = statement(exchange.call, schema)
    key = SET_KEY.format(literal(exchange.key or ""))
    if ours and exchange.dry_run:
        # What is checked at the commit is checked before it is undone.
        message = ["begin", key, made, "set constraints all immediate", "rollback"]
        way_back = "rollback"
    elif ours:
        message, way_back = [key, made], ""
    else:
        end = "rollback to" if exchange.dry_run else "release"
        leave = [SET_KEY.format("''"), f"{end} {SAVEPOINT}"]
        message = [f"savepoint {SAVEPOINT}", key, made, *leave]
        way_back = f"rollback to {SAVEPOINT}; release {SAVEPOINT}"
    said = ";".join(message)
    try:
        # Finding out the encoding takes longer than saying most calls.
        answers = yield said.encode("ascii" if said.isascii() else connection.info.encoding)
    except INTERRUPTED:
        yield from _back(connection, before, way_back)
        raise
    except psycopg.Error as error:
        if _is_lost(connection):
            unsure = ours and not exchange.dry_run
            lost = failures.OutcomeUnknown if unsure else failures.ConnectionLost
            raise lost(str(error).strip()) from error
        yield from _back(connection, before, way_back)
        raise _failure(exchange.call, error) from error
    found = answers[message.index(made)]
    return [None if each is None else _read(each, connection) for each in found]


def statement(call: Call[Any], schema: str | None = None) -> str:
    """The statement that makes a call: each row of its answer as JSON.

    As JSON, so that every transport reads the same and the owner's type adapters don't matter.
    """
    arguments = ", ".join(map(_argument, call.arguments))
    made = f"{identifier(schema or call.schema)}.{identifier(call.function)}({arguments})"
    if call.returns.columns:
        return (
            'select pg_catalog.to_jsonb("the row")::text'
            f' from (select "the call".* from {made} as "the call") as "the row"'
        )
    # A column of the same name would hide the row: hence a name that no function's column has.
    return f'select pg_catalog.to_jsonb("the row")::text from {made} as "the row"'


def answers_of(cursor: AnyCursor) -> Answers:
    """What came back of each statement, as it came."""
    found = []
    while True:
        result = cursor.pgresult
        if result is not None:
            rows = range(result.ntuples)
            found.append([result.get_value(row, 0) if result.nfields else None for row in rows])
        if not cursor.nextset():
            return found


def ask(connection: psycopg.Connection[Any], message: bytes) -> Answers:
    """Send a message, and wait for what comes back."""
    return answers_of(connection.execute(message, prepare=False))


async def ask_async(connection: psycopg.AsyncConnection[Any], message: bytes) -> Answers:
    """Send a message, and wait for what comes back."""
    return answers_of(await connection.execute(message, prepare=False))


def literal(text: str) -> str:
    """A text as SQL, whatever `standard_conforming_strings` says.

    Raises:
        ValueError: It holds a NUL, which no text of Postgres can.
    """
    if "\0" in text:
        raise ValueError("Postgres has no text with a NUL in it")
    doubled = text.replace("'", "''")
    return " E'{}'".format(doubled.replace("\\", "\\\\")) if "\\" in text else f"'{doubled}'"


@cache
def identifier(name: str) -> str:
    """A name as SQL."""
    return '"{}"'.format(name.replace('"', '""'))


def _read(answer: bytes, connection: AnyConnection) -> Json:
    try:
        return parse(answer.decode("ascii" if answer.isascii() else connection.info.encoding))
    except ValueError as error:
        raise failures.UnexpectedAnswer(READABLE, answer[:200]) from error


def _back(connection: AnyConnection, before: int, way_back: str) -> Generator[bytes, Answers, None]:
    """Out of a call that failed, to where its transaction was; or to none, where it was its own."""
    if way_back and connection.pgconn.transaction_status == TransactionStatus.INERROR != before:
        # Lost by now, or failed before its savepoint: what the call ended in is the same.
        with suppress(psycopg.Error):
            yield way_back.encode()


def _is_lost(connection: AnyConnection) -> bool:
    return connection.closed


def _argument(argument: Argument) -> str:
    name = identifier(argument.name)
    before = "variadic " if argument.variadic else ""
    return f"{before}{name} => {_value(argument.type, argument.value)}"


def _value(type_name: str, value: Json) -> str:
    match value:
        case None:
            return f"null::{type_name}"
        case _ if type_name in {"json", "jsonb"}:
            return f"{literal(json.dumps(value))}::{type_name}"
        case bool():
            return f"{literal(str(value).lower())}::{type_name}"
        case int() | str():
            return f"{literal(str(value))}::{type_name}"
    # Lists and objects become arrays and rows as they do in PostgREST.
    document = literal(json.dumps({"given": value}))
    record = f"pg_catalog.json_to_record({document}) as given(given {type_name})"
    return f"(select given.given from {record})"


def _failure(call: Call[Any], error: psycopg.Error) -> failures.PymilkError:
    said = error.diag
    return failure(
        call.refusals,
        error.sqlstate or "",
        said.message_primary or str(error),
        detail=said.message_detail,
        hint=said.message_hint,
        inside=bool(said.context),
    )
