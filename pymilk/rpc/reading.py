"""Reading what a function returned: one reader a type, and three shapes to put them into."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import TypeAlias, TypeVar
from uuid import UUID

from pymilk.rpc.call import Json
from pymilk.rpc.errors import UnexpectedAnswer

T = TypeVar("T")

Reader: TypeAlias = Callable[[Json], T]
Rows: TypeAlias = Sequence[Json]


def text(value: Json) -> str:
    """A text."""
    if not isinstance(value, str):
        raise UnexpectedAnswer("text", value)
    return value


def boolean(value: Json) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise UnexpectedAnswer("boolean", value)
    return value


def numeric(value: Json) -> Decimal:
    """A numeric, every digit of it."""
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise UnexpectedAnswer("numeric", value)
    return Decimal(value)


def uuid(value: Json) -> UUID:
    """A uuid."""
    return _written(UUID, value)


def day(value: Json) -> date:
    """A date."""
    return _written(date.fromisoformat, value)


def moment(value: Json) -> datetime:
    """A timestamp with its time zone."""
    return _written(datetime.fromisoformat, value)


def anything(value: Json) -> Json:
    """What no type tells: JSON as it is."""
    return value


def nullable(reader: Reader[T]) -> Reader[T | None]:
    """What the reader reads, or nothing."""
    return lambda value: None if value is None else reader(value)


def fields(shape: Callable[..., T], **readers: Reader[object]) -> Reader[T]:
    """An object with these fields; others, which a newer function may add, are left alone."""

    def read(value: Json) -> T:
        if not isinstance(value, Mapping) or not readers.keys() <= value.keys():
            raise UnexpectedAnswer(f"an object with {', '.join(readers)}", value)
        return shape(**{name: reader(value[name]) for name, reader in readers.items()})

    return read


def several(reader: Reader[T]) -> Reader[tuple[T, ...]]:
    """A list of what the reader reads."""

    def read(value: Json) -> tuple[T, ...]:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise UnexpectedAnswer("a list", value)
        return tuple(map(reader, value))

    return read


def one(reader: Reader[T]) -> Callable[[Rows], T]:
    """For a function that returns one record or one value."""

    def read(rows: Rows) -> T:
        if len(rows) != 1:
            raise UnexpectedAnswer("one row", rows)
        return reader(rows[0])

    return read


def every(reader: Reader[T]) -> Callable[[Rows], tuple[T, ...]]:
    """For a function that returns a row for each thing, or none."""
    return several(reader)


def _written(parse: Callable[[str], T], value: Json) -> T:
    written = text(value)
    try:
        return parse(written)
    except ValueError as error:
        raise UnexpectedAnswer("a uuid, date or time", written) from error
