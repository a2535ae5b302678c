"""A call of a database function as a value: what to send, and how to read what comes back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeAlias, TypeVar, cast
from uuid import UUID

if TYPE_CHECKING:
    from pymilk.rpc.failures import Refusal

T = TypeVar("T")

if TYPE_CHECKING:
    # What JSON can say. Numbers with a fraction are Decimals, exactly as the database wrote them.
    Json: TypeAlias = bool | int | Decimal | str | Sequence["Json"] | Mapping[str, "Json"] | None
else:
    Json = Any  # readers look at annotations when they run, and an alias of itself can't be made
Rows: TypeAlias = Sequence[Json]

# What JSON has itself. Most arguments are one of these or a uuid: they are asked for first.
_SAID_AS_IT_IS: Final = frozenset({NoneType, bool, int, str})

# Under this name a dataclass's field remembers the name in the database, where that is no Python.
NAME: Final = "name"


class Default(Enum):
    """What stands for an argument that is left out, so that the database's own default counts."""

    DEFAULT = "default"


DEFAULT: Final = Default.DEFAULT


class Key(Enum):
    """What an idempotency key means to a function."""

    NOT_TAKEN = "the function knows no keys"
    OF_THIS_CALL = "it names this call: made twice, it has one effect and one answer"
    OF_ANOTHER_CALL = "it names another call, so nobody can make one up"


class Argument(NamedTuple):
    """One named argument.

    Attributes:
        name: As the function declares it, such as `p_payment_id`.
        type: Its Postgres type, such as `uuid` or `jsonb`.
        value: As `plain` gives it.
        variadic: Whether it is the list of a variadic function.
    """

    name: str
    type: str
    value: Json
    variadic: bool = False


@dataclass(frozen=True, slots=True)
class Returns(Generic[T]):
    """What a function returns.

    Attributes:
        several: Whether it returns any number of rows.
        columns: Whether a row is an object of columns; else it is one value.
        read: Makes the result of the rows that came back; the rows of `void` are none.
    """

    several: bool
    columns: bool
    read: Callable[[Rows], T]


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A call of one function, not yet made: it holds no connection.

    Attributes:
        function: The function's name.
        arguments: Those that are given; the others have the database's defaults.
        returns: How its answer is read.
        schema: Where the function is.
        key: What an idempotency key means to it.
        refusals: The class for each reason that it refuses with.
    """

    function: str
    arguments: tuple[Argument, ...]
    returns: Returns[T]
    schema: str = "public"
    key: Key = Key.NOT_TAKEN
    refusals: Mapping[str, "type[Refusal]"] = field(default_factory=dict)


def given(*arguments: Argument | None) -> tuple[Argument, ...]:
    """The arguments that are not left out."""
    return tuple([each for each in arguments if each is not None])


def argument(
    name: str, type_name: str, value: object, *, variadic: bool = False
) -> Argument | None:
    """One argument, or None for `DEFAULT`.

    Raises:
        TypeError: The value can't be sent without changing it: see `plain`. Or it is a time of
            day in no time zone, and the function takes moments.
    """
    if value is DEFAULT:
        return None
    if type_name == "timestamp with time zone" and isinstance(value, datetime) and not value.tzinfo:
        raise TypeError(f"{name}: {value!r} has no time zone, so it is no moment")
    return Argument(name, type_name, plain(value), variadic)


def approximate(value: object) -> object:
    """An argument that is a float as declared: by its shortest text, which says the same."""
    match value:
        case float():
            return repr(value).replace("inf", "Infinity").replace("nan", "NaN")
        case list() | tuple():
            return [approximate(each) for each in value]
    return value


def plain(value: object) -> Json:  # noqa: PLR0911 - a kind each
    """What JSON can say of an argument, without losing a paisa.

    Decimals become strings, which the database reads as numerics; uuids, dates and times likewise.
    A dataclass becomes an object of its fields by their names in the database.

    Raises:
        TypeError: A float: 0.1 + 0.2 is no amount of money. Or anything else that JSON can't say.
    """
    if type(value) in _SAID_AS_IT_IS:
        return cast("Json", value)
    match value:
        case bool() | int() | str():
            return value
        case Decimal():
            return format(value, "f")
        case UUID():
            return str(value)
        case date() | time():
            return value.isoformat()
        case bytes():
            return f"\\x{value.hex()}"
        case Mapping():
            return {str(key): plain(each) for key, each in value.items()}
        case Sequence():
            return [plain(each) for each in value]
    if is_dataclass(value):
        return {
            each.metadata.get(NAME, each.name): plain(getattr(value, each.name))
            for each in fields(value)
        }
    raise TypeError(
        f"{value!r} can't be sent exactly; amounts are Decimal, whole numbers or strings"
    )
