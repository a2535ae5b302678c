"""From the catalog's types and the comments' declarations to what they are in Python."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from pymilk.generate import declared
from pymilk.generate.catalog import Catalog, Column, Type
from pymilk.generate.meaning import (
    JSON,
    KNOWN,
    SHORT,
    TEXT,
    Choice,
    DictOf,
    ListOf,
    Meaning,
    Shaped,
    literal,
    maybe,
)
from pymilk.generate.names import Taken, camel, identifier, singular

_SPELLINGS = {
    "bigint": "int8",
    "boolean": "bool",
    "decimal": "numeric",
    "double precision": "float8",
    "int": "int4",
    "integer": "int4",
    "real": "float4",
    "smallint": "int2",
    "string": "text",
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
}


class Unfit(Exception):  # noqa: N818 - it is what is told of a function that is left out
    """Why a function can't be called from Python."""


@dataclass(frozen=True)
class Field:
    """A field of a class.

    Attributes:
        python: Its name in Python.
        name: Its name in the database.
        meaning: What it holds.
        sentence: What it is; may be empty.
        may_be_missing: Whether a TypedDict may do without it.
    """

    python: str
    name: str
    meaning: Meaning
    sentence: str = ""
    may_be_missing: bool = False


@dataclass(frozen=True)
class Shape:
    """A class that is to be written.

    Attributes:
        name: Its name.
        about: Its docstring's sentence.
        fields: Its fields.
        is_given: Whether it is a TypedDict, for an argument; else a frozen dataclass.
    """

    name: str
    about: str
    fields: tuple[Field, ...]
    is_given: bool = False


@dataclass
class Resolver:
    """Says what types are in Python, and remembers the classes and aliases that this takes.

    Attributes:
        catalog: The types.
        taken: The module's names.
        aliases: Lists of texts that have a name, by it.
        composites: The dataclasses of composite types, in an order in which they can be written.
    """

    catalog: Catalog
    taken: Taken
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    composites: list[Shape] = field(default_factory=list)
    _names: dict[str, str] = field(default_factory=dict)

    def of_type(self, oid: str) -> Meaning:  # noqa: PLR0911 - a kind each
        """What a type is.

        Raises:
            Unfit: No value of it can be given or got.
        """
        found = self.catalog.types.get(oid)
        if found is None:
            raise Unfit("one of its types is hidden in another schema")
        if found.element is not None:
            return ListOf(maybe(self.of_type(found.element)))
        match found.kind:
            case "e":
                return self._choice(found, found.choices)
            case "d":
                base = self.of_type(found.base or "")
                return (
                    self._choice(found, found.choices) if found.choices and base == TEXT else base
                )
            case "c":
                return self._composite(oid, found)
            case "p":
                raise Unfit(f"{found.sql} is no type that a caller can give or get")
            case "b" if found.as_json:
                return JSON
            case "b" if found.schema == "pg_catalog":
                return KNOWN.get(found.name, TEXT)
            case _:
                return TEXT

    def never_null(self, oid: str) -> bool:
        """Whether a type itself forbids null."""
        found = self.catalog.types.get(oid)
        return found is not None and found.never_null

    def of_shape(self, shape: declared.Shape, owner: str, part: str) -> tuple[Meaning, list[Shape]]:
        """What a declared shape is, and the classes that it takes, inner ones first.

        Args:
            shape: From the comment.
            owner: The class or function that it is in, as the beginning of a class's name.
            part: Which part of that it is.

        Raises:
            Unfit: It names a type or column that isn't there.
        """
        made: list[Shape] = []
        return self._shape(shape, owner, part, made), made

    def column(self, column: Column, table: str) -> Meaning:
        """What a column holds."""
        meaning = self.of_type(column.type)
        if column.choices and meaning == TEXT:
            meaning = self._named(f"{camel(table)}{camel(column.name)}", column.choices)
        return maybe(meaning, never_null=column.never_null or self.never_null(column.type))

    def _shape(self, shape: declared.Shape, owner: str, part: str, made: list[Shape]) -> Meaning:
        match shape:
            case declared.OrNull():
                return maybe(self._shape(shape.shape, owner, part, made))
            case declared.Listed():
                return ListOf(self._shape(shape.item, owner, singular(part), made))
            case declared.Keyed():
                return DictOf(self._shape(shape.item, owner, singular(part), made))
            case declared.Texts():
                return self._texts(shape.known, owner + camel(part))
            case declared.Named():
                found = self._by_name(shape.name)
                return ListOf(found) if shape.is_list else found
            case declared.Object():
                name = self.taken.take(owner + camel(part))
                fields = tuple(
                    Field(
                        identifier(key.name),
                        key.name,
                        self._shape(key.shape, name, key.name, made),
                        may_be_missing=key.may_be_missing,
                    )
                    for key in shape.keys
                )
                made.append(Shape(name, "", fields))
                return Shaped(name)

    def _texts(self, known: tuple[str, ...], name: str) -> Meaning:
        if len(literal(known)) <= SHORT:
            return Choice(known)
        return self._named(name, known)

    def _by_name(self, name: str) -> Meaning:
        schema, _, bare = name.rpartition(".")
        if not schema and (simple := KNOWN.get(_SPELLINGS.get(name, name))):
            return simple
        if not schema and name == "text":
            return TEXT
        for oid, found in self.catalog.types.items():
            if found.name == bare and found.schema == (schema or self.catalog.schema):
                return self.of_type(oid)
            if not schema and found.name == bare and found.schema == "pg_catalog":
                return self.of_type(oid)
        return self._by_column(*name.split("."))

    def _by_column(self, *names: str) -> Meaning:
        *schemas, table, column = names if len(names) > 1 else ("", "", *names)
        wanted = schemas[0] if schemas and schemas[0] else self.catalog.schema
        for found in self.catalog.types.values():
            if (found.schema, found.name) == (wanted, table):
                for each in found.columns:
                    if each.name == column:
                        return self.column(each, table)
        raise Unfit(f"its comment says '{'.'.join(names)}', which is no type and no column")

    def _choice(self, found: Type, known: tuple[str, ...]) -> Meaning:
        return self._named(camel(found.name), known, camel(f"{found.schema}_{found.name}"))

    def _named(self, name: str, known: tuple[str, ...], other: str = "") -> Meaning:
        for wish in filter(None, (name, other)):
            if self.aliases.get(wish) == known:
                return Choice(known, wish)
        taken = self.taken.take(*filter(None, (name, other)))
        self.aliases[taken] = known
        return Choice(known, taken)

    def _composite(self, oid: str, found: Type) -> Meaning:
        if oid not in self._names:
            # Taken before its columns are looked at, so that names don't depend on them.
            self._names[oid] = self.taken.take(
                camel(found.name), camel(f"{found.schema}_{found.name}")
            )
            fields = tuple(
                Field(python, each.name, self.column(each, found.name))
                for each, python in zip(
                    found.columns, unique(each.name for each in found.columns), strict=True
                )
            )
            what = "A row of" if found.is_table else "A value of type"
            about = f"{what} {found.schema}.{found.name}."
            self.composites.append(Shape(self._names[oid], about, fields))
        return Shaped(self._names[oid])


def unique(names: Iterable[str]) -> list[str]:
    """Names of fields for Python, no two of them alike.

    Raises:
        Unfit: A name has nothing in it that Python could say.
    """
    found: dict[str, None] = {}
    for name in names:
        said = identifier(name)
        if not said.strip("_"):
            raise Unfit(f"Python can't say the name '{name}'")
        while said in found:
            said += "_"
        found[said] = None
    return list(found)


def as_given(shapes: Iterable[Shape]) -> list[Shape]:
    """The same classes, for an argument."""
    return [Shape(each.name, each.about, each.fields, is_given=True) for each in shapes]
