"""A call of a database function as a value: what to send, and how to read what comes back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import date
from decimal import Decimal
from typing import Generic, TypeAlias, TypeVar
from uuid import UUID

T = TypeVar("T")

# What JSON can say. Numbers with a fraction are Decimals, exactly as the database wrote them.
Json: TypeAlias = "bool | int | Decimal | str | Sequence[Json] | Mapping[str, Json] | None"


@dataclass(frozen=True, slots=True)
class Argument:
    """One named argument.

    Attributes:
        name: As the function declares it, such as `p_payment_id`.
        type: Its Postgres type, such as `uuid` or `jsonb`.
        value: As `plain` gives it.
    """

    name: str
    type: str
    value: Json


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A call of one function of schema public, not yet made: it holds no connection.

    Attributes:
        function: The function's name.
        arguments: All of them, by name.
        read: Makes the result of the rows that came back.
    """

    function: str
    arguments: tuple[Argument, ...]
    read: Callable[[Sequence[Json]], T]


def plain(value: object) -> Json:
    """What JSON can say of an argument, without losing a paisa.

    Decimals become strings, which the database reads as numerics; uuids and dates likewise. A
    dataclass becomes an object of its fields in the app's spelling: `invoice_id` is `invoiceId`.

    Raises:
        TypeError: A float: 0.1 + 0.2 is no amount of money. Or anything else that JSON can't say.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case Decimal():
            return format(value, "f")
        case UUID() | date():
            return str(value)
        case Mapping():
            return {str(key): plain(each) for key, each in value.items()}
        case list() | tuple():
            return [plain(each) for each in value]
    if is_dataclass(value):
        return {_camel(each.name): plain(getattr(value, each.name)) for each in fields(value)}
    message = f"{value!r} can't be sent exactly; amounts are Decimal, whole numbers or strings"
    raise TypeError(message)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))
