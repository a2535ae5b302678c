"""Reading what a function returned.

A reader takes a value as JSON has it and gives the value that it means, or raises UnexpectedAnswer.
A dataclass is read by its own annotations, so that what is declared is what is checked.
"""

import json
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from datetime import date, datetime, time
from decimal import Decimal
from functools import cache
from typing import (
    Any,
    Literal,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)
from uuid import UUID

from pymilk.rpc.call import NAME, Json, Returns, Rows
from pymilk.rpc.failures import UnexpectedAnswer

T = TypeVar("T")

Reader: TypeAlias = Callable[[Json], T]

_EXACTLY = json.JSONDecoder(parse_float=Decimal)
READABLE = "JSON that Python can hold"
_NO_NUMBERS = frozenset({"NaN", "Infinity", "-Infinity"})


def parse(text: str | bytes) -> Json:
    """JSON with every digit of its numbers.

    Raises:
        ValueError: It isn't JSON (JSONDecodeError, UnicodeDecodeError). Or Python can't hold it: it
            is too deep, or has a number of too many digits.
    """
    try:
        return cast("Json", _EXACTLY.decode(text if isinstance(text, str) else text.decode()))
    except (RecursionError, ArithmeticError) as error:
        raise ValueError(f"JSON that Python can't hold: {error}") from error


def text(value: Json) -> str:
    """A text, or what Postgres writes as one."""
    if not isinstance(value, str):
        raise UnexpectedAnswer("text", value)
    return value


def boolean(value: Json) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise UnexpectedAnswer("boolean", value)
    return value


def integer(value: Json) -> int:
    """A whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise UnexpectedAnswer("a whole number", value)
    return value


def numeric(value: Json | float) -> Decimal:
    """A numeric, every digit of it; NaN and the infinities come as text.

    A float, which other JSON readers make of it, is taken by its shortest text: that is exact for
    everything that numeric(12, 2) can hold.
    """
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, float) or (isinstance(value, str) and value in _NO_NUMBERS):
        return Decimal(str(value))
    raise UnexpectedAnswer("numeric", value)


def inexact(value: Json) -> float:
    """A double precision or real."""
    return float(numeric(value))


def uuid(value: Json) -> UUID:
    """A uuid."""
    return _written(UUID, value)


def day(value: Json) -> date:
    """A date."""
    return _written(date.fromisoformat, value)


def clock(value: Json) -> time:
    """A time of day."""
    return _written(time.fromisoformat, value)


def moment(value: Json) -> datetime:
    """A timestamp, with its time zone where its type has one."""
    return _written(datetime.fromisoformat, value)


def binary(value: Json) -> bytes:
    """A bytea."""
    return _written(lambda written: bytes.fromhex(written.removeprefix("\\x")), value)


def anything(value: Json) -> Json:
    """What no type tells: JSON as it is."""
    return value


def nullable(reader: Reader[T]) -> Reader[T | None]:
    """What the reader reads, or nothing."""
    return lambda value: None if value is None else reader(value)


def choice(*known: T) -> Reader[T]:
    """One of these texts."""

    def read(value: Json) -> T:
        for each in known:
            if each == value:
                return each
        raise UnexpectedAnswer(f"one of {', '.join(map(str, known))}", value)

    return read


def several(reader: Reader[T]) -> Reader[list[T]]:
    """A list of what the reader reads."""

    def read(value: Json) -> list[T]:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise UnexpectedAnswer("a list", value)
        return [reader(each) for each in value]

    return read


def mapping(reader: Reader[T]) -> Reader[dict[str, T]]:
    """An object with any keys."""

    def read(value: Json) -> dict[str, T]:
        if not isinstance(value, Mapping):
            raise UnexpectedAnswer("an object", value)
        return {key: reader(each) for key, each in value.items()}

    return read


def record(shape: type[T]) -> Reader[T]:
    """A dataclass by its annotations; keys that a newer function may add are left alone."""
    return cast("Reader[T]", _record(cast("Any", shape)))


@cache
def _record(shape: Any) -> Reader[Any]:  # noqa: ANN401 - a dataclass; the cache asks for no more
    hints = get_type_hints(shape)
    readers = [
        (each.name, str(each.metadata.get(NAME, each.name)), reader_of(hints[each.name]))
        for each in fields(shape)
    ]
    needed = {
        str(each.metadata.get(NAME, each.name)) for each in fields(shape) if each.default is MISSING
    }

    def read(value: Json) -> Any:  # noqa: ANN401 - what the dataclass is
        if not isinstance(value, Mapping) or not needed <= value.keys():
            raise UnexpectedAnswer(f"an object with {', '.join(needed)}", value)
        return shape(
            **{field: reader(value[name]) for field, name, reader in readers if name in value}
        )

    return read


def reader_of(hint: Any) -> Reader[Any]:  # noqa: ANN401, PLR0911 - as typing has it; a kind each
    """The reader of an annotation."""
    if hint is Json:
        return anything
    simple = _SIMPLE.get(hint) if isinstance(hint, type) else None
    if simple is not None:
        return simple
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return choice(*arguments)
    if origin is list:
        return several(reader_of(arguments[0]))
    if origin is dict:
        return mapping(reader_of(arguments[1]))
    if origin in {Union, types.UnionType}:
        (inner,) = (each for each in arguments if each is not type(None))
        return nullable(reader_of(inner))
    return record(hint)


def nothing() -> Returns[None]:
    """For a function that returns void."""
    return Returns(several=False, columns=False, read=lambda _: None)


def value(reader: Reader[T]) -> Returns[T]:
    """For a function that returns one value."""
    return Returns(several=False, columns=False, read=_one(reader))


def row(shape: type[T]) -> Returns[T]:
    """For a function that returns one record."""
    return cast("Returns[T]", _row(cast("Any", shape)))


@cache
def _row(shape: Any) -> Returns[Any]:  # noqa: ANN401 - a dataclass; made once for all its calls
    return Returns(several=False, columns=True, read=_one(_record(shape)))


def row_or_none(shape: type[T]) -> Returns[T | None]:
    """For a function that returns a row of a type: all of it null is no row."""
    reader: Reader[T] = record(shape)

    def read(value: Json) -> T | None:
        if value is None or (
            isinstance(value, Mapping) and not any(map(_is_there, value.values()))
        ):
            return None
        return reader(value)

    return Returns(several=False, columns=True, read=_one(read))


def values(reader: Reader[T]) -> Returns[list[T]]:
    """For a function that returns any number of values."""
    return Returns(several=True, columns=False, read=several(reader))


def rows(shape: type[T]) -> Returns[list[T]]:
    """For a function that returns any number of rows."""
    return Returns(several=True, columns=True, read=several(record(shape)))


def _one(reader: Reader[T]) -> Callable[[Rows], T]:
    def read(found: Rows) -> T:
        if len(found) != 1:
            raise UnexpectedAnswer("one row", found)
        return reader(found[0])

    return read


def _is_there(value: Json) -> bool:
    return value is not None


def _written(read: Callable[[str], T], value: Json) -> T:
    written = text(value)
    try:
        return read(written)
    except ValueError as error:
        raise UnexpectedAnswer("what Postgres writes for its type", written) from error


_SIMPLE: Mapping[Any, Reader[Any]] = {
    str: text,
    bool: boolean,
    int: integer,
    Decimal: numeric,
    float: inexact,
    UUID: uuid,
    date: day,
    time: clock,
    datetime: moment,
    bytes: binary,
}
