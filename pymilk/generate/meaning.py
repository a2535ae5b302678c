"""What a value is in Python."""

from dataclasses import dataclass
from typing import Final

# The longest list of texts that stands where it is used; a longer one gets a name.
SHORT: Final = 60


@dataclass(frozen=True)
class Scalar:
    """A value without parts.

    Attributes:
        result: Its type when it comes back.
        argument: What it may be when it is given.
        reader: Which of `pymilk.rpc.reading` reads it.
    """

    result: str
    argument: str
    reader: str


@dataclass(frozen=True)
class Choice:
    """One of some texts.

    Attributes:
        known: The texts.
        name: The alias that stands for them; empty where they stand themselves.
    """

    known: tuple[str, ...]
    name: str = ""


@dataclass(frozen=True)
class ListOf:
    """A list."""

    item: "Meaning"


@dataclass(frozen=True)
class DictOf:
    """An object with any keys."""

    item: "Meaning"


@dataclass(frozen=True)
class Maybe:
    """That, or None."""

    item: "Meaning"


@dataclass(frozen=True)
class Shaped:
    """A class of the generated module: a dataclass, or a TypedDict where it is only given."""

    name: str


Meaning = Scalar | Choice | ListOf | DictOf | Maybe | Shaped

JSON: Final = Scalar("Json", "Json", "anything")
TEXT: Final = Scalar("str", "str", "text")
FLOAT: Final = Scalar("float", "float", "inexact")
NUMERIC: Final = Scalar("Decimal", "Decimal | int", "numeric")

KNOWN: Final = {
    "bool": Scalar("bool", "bool", "boolean"),
    "bytea": Scalar("bytes", "bytes", "binary"),
    "date": Scalar("dt.date", "dt.date", "day"),
    "float4": FLOAT,
    "float8": FLOAT,
    "int2": Scalar("int", "int", "integer"),
    "int4": Scalar("int", "int", "integer"),
    "int8": Scalar("int", "int", "integer"),
    "json": JSON,
    "jsonb": JSON,
    "numeric": NUMERIC,
    "time": Scalar("dt.time", "dt.time", "clock"),
    "timestamp": Scalar("dt.datetime", "dt.datetime", "moment"),
    "timestamptz": Scalar("dt.datetime", "dt.datetime", "moment"),
    "timetz": Scalar("dt.time", "dt.time", "clock"),
    "uuid": Scalar("UUID", "UUID", "uuid"),
}
"""Postgres's own types that Python has; the others come and go as the text that they are."""


def maybe(meaning: Meaning, *, never_null: bool = False) -> Meaning:
    """The same, or None unless it is never null; JSON says null itself."""
    return (
        meaning if never_null or meaning == JSON or isinstance(meaning, Maybe) else Maybe(meaning)
    )


def is_float(meaning: Meaning) -> bool:
    """Whether a float is what belongs there."""
    if isinstance(meaning, ListOf | Maybe):
        return is_float(meaning.item)
    return meaning == FLOAT


def result(meaning: Meaning) -> str:
    """The annotation of what comes back."""
    match meaning:
        case Scalar():
            return meaning.result
        case Choice():
            return meaning.name or literal(meaning.known)
        case ListOf():
            return f"list[{result(meaning.item)}]"
        case DictOf():
            return f"dict[str, {result(meaning.item)}]"
        case Maybe():
            return f"{result(meaning.item)} | None"
        case Shaped():
            return meaning.name


def given(meaning: Meaning) -> str:
    """The annotation of what is given."""
    match meaning:
        case Scalar():
            return meaning.argument
        case ListOf():
            return f"Sequence[{given(meaning.item)}]"
        case DictOf():
            return f"Mapping[str, {given(meaning.item)}]"
        case Maybe():
            return f"{given(meaning.item)} | None"
        case _:
            return result(meaning)


def reader(meaning: Meaning) -> str:
    """The expression that reads it."""
    match meaning:
        case Scalar():
            return f"reading.{meaning.reader}"
        case Choice():
            return f"reading.choice({', '.join(map(quoted, meaning.known))})"
        case ListOf():
            return f"reading.several({reader(meaning.item)})"
        case DictOf():
            return f"reading.mapping({reader(meaning.item)})"
        case Maybe():
            return f"reading.nullable({reader(meaning.item)})"
        case Shaped():
            return f"reading.record({meaning.name})"


def literal(known: tuple[str, ...]) -> str:
    """The type of one of these texts."""
    return f"Literal[{', '.join(map(quoted, known))}]"


def quoted(text: str) -> str:
    """A text as Python source, in the quotes that a formatter leaves alone."""
    escaped = "".join(_escaped(character) for character in text)
    if '"' in text and "'" not in text:
        return f"'{escaped}'"
    return '"' + escaped.replace('"', '\\"') + '"'


def _escaped(character: str) -> str:
    if character == "\\":
        return "\\\\"
    return character if character.isprintable() else repr(character)[1:-1]
