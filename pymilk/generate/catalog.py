"""What the catalog says of a schema's functions and of the types that they use."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, cast

from pymilk.database.catalog import OWN_SCHEMAS, PLATFORM_SCHEMAS
from pymilk.database.connection import Connection
from pymilk.problem import UsageProblem
from pymilk.project.statements import tokens

_CAST = re.compile(r" : : (?:text|character varying|bpchar)(?: \[ \])?")


@dataclass(frozen=True)
class Column:
    """A column of a composite type or of a table.

    Attributes:
        name: Its name.
        type: The oid of its type, as text.
        never_null: Whether it can't be null.
        choices: The texts that a CHECK constraint lists for it; none when it lists none.
    """

    name: str
    type: str
    never_null: bool
    choices: tuple[str, ...]


@dataclass(frozen=True)
class Type:
    """A type.

    Attributes:
        name: Its name.
        schema: Where it is.
        sql: How SQL names it: qualified unless it is Postgres's own.
        kind: pg_type.typtype: b base, c composite, d domain, e enum, p pseudo, r and m ranges.
        category: pg_type.typcategory, such as N for numbers.
        base: What a domain is made over.
        element: What an array holds.
        never_null: Whether a domain forbids null.
        as_json: Whether a cast of its own says what it is as JSON.
        choices: An enum's labels, or what a domain's CHECK constraint lists.
        is_table: Whether it is the row of a table or view.
        columns: A composite's.
    """

    name: str
    schema: str
    sql: str
    kind: str
    category: str
    base: str | None
    element: str | None
    never_null: bool
    as_json: bool
    choices: tuple[str, ...]
    is_table: bool
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Argument:
    """An argument of a function, or a column of its result.

    Attributes:
        name: Its name; empty when it has none.
        type: The oid of its type, as text.
        mode: pg_proc.proargmodes: i in, o out, b inout, v variadic, t table.
        default: The expression of its default.
    """

    name: str
    type: str
    mode: str
    default: str | None

    @property
    def goes_in(self) -> bool:
        """Whether a call gives it."""
        return self.mode in {"i", "b", "v"}


@dataclass(frozen=True)
class Function:
    """A function, procedure or aggregate.

    Attributes:
        name: Its name.
        kind: pg_proc.prokind: f function, p procedure, a aggregate, w window function.
        signature: Its arguments, for a person.
        extension: Whose it is, when it isn't the project's.
        returns: The oid of what it returns, as text.
        several: Whether it returns a set.
        comment: What `comment on function` says.
        arguments: Those that go in and those that come out.
    """

    name: str
    kind: str
    signature: str
    extension: str | None
    returns: str
    several: bool
    comment: str
    arguments: tuple[Argument, ...]

    @property
    def inputs(self) -> tuple[Argument, ...]:
        """What a call gives."""
        return tuple(each for each in self.arguments if each.goes_in)

    @property
    def outputs(self) -> tuple[Argument, ...]:
        """What comes back by name."""
        return tuple(each for each in self.arguments if each.mode in {"o", "b", "t"})


@dataclass(frozen=True)
class Body:
    """The source of a function.

    Attributes:
        schema: Where the function is.
        name: Its name.
        text: Its source.
    """

    schema: str
    name: str
    text: str


@dataclass(frozen=True)
class Catalog:
    """Everything that the generator looks at.

    Attributes:
        schema: Whose functions.
        functions: By name.
        types: By oid, as text.
        bodies: Of all of the project's functions, in whatever schema.
    """

    schema: str
    functions: tuple[Function, ...]
    types: Mapping[str, Type]
    bodies: tuple[Body, ...]


def read_catalog(connection: Connection, schema: str) -> Catalog:
    """Read what the generator needs.

    Raises:
        UsageProblem: There is no such schema.
    """
    with connection.transaction():
        # What isn't reached by the search path is qualified: then a name means one thing.
        connection.execute("set local search_path = pg_catalog")
        known = "select from pg_catalog.pg_namespace where nspname = %s"
        if not connection.execute(known, [schema]).rowcount:
            raise UsageProblem(
                f"The database has no schema '{schema}'.",
                state="No file was written.",
                todo="Name another: --schema.",
            )
        functions = connection.execute(_query("functions"), {"schema": schema}).fetchall()
        types = connection.execute(_query("types")).fetchall()
        hidden = [*PLATFORM_SCHEMAS, *OWN_SCHEMAS]
        bodies = connection.execute(_query("bodies"), {"hidden": hidden}).fetchall()
    return Catalog(
        schema,
        tuple(_function(found) for (found,) in functions),
        {found["oid"]: _type(found) for (found,) in types},
        tuple(Body(*found) for found in bodies),
    )


def choices(checks: Iterable[str] | None, column: str) -> tuple[str, ...]:
    """The texts that a CHECK constraint lists for a column, if it does nothing but that.

    Postgres writes `check (status in ('a'))` as `CHECK ((status = ANY (ARRAY['a'::text])))`.
    """
    for check in checks or ():
        listed = _listed(check, column)
        if listed:
            return listed
    return ()


def _listed(check: str, column: str) -> tuple[str, ...]:
    values = []
    words = []
    for token in tokens(check):
        if token.kind == "string":
            values.append(token.text[1:-1].replace("''", "'"))
            words.append("'")
        elif token.kind == "identifier":
            words.append(token.text[1:-1].replace('""', '"'))
        elif token.kind != "punctuation":
            words.append(token.text)
    said = _CAST.sub("", " ".join(words))
    same = re.escape(column)
    listing = rf"CHECK (?:{same} IS NULL OR )?{same} = (?:ANY ARRAY \[ '(?: , ')* \]|')"
    return tuple(values) if re.fullmatch(listing, said) else ()


def _function(found: Mapping[str, Any]) -> Function:
    return Function(
        found["name"],
        found["kind"],
        found["signature"],
        found["extension"],
        found["returns"],
        found["several"],
        found["comment"] or "",
        tuple(
            Argument(each["name"], each["type"], each["mode"], each["default"])
            for each in found["arguments"]
        ),
    )


def _type(found: Mapping[str, Any]) -> Type:
    return Type(
        found["name"],
        found["schema"],
        found["sql"],
        found["kind"],
        found["category"],
        found["base"],
        found["element"],
        found["never_null"],
        found["as_json"],
        tuple(cast("list[str] | None", found["labels"]) or choices(found["checks"], "VALUE")),
        bool(found["table"]),
        tuple(
            Column(
                each["name"],
                each["type"],
                each["never_null"],
                choices(each["checks"], each["name"]),
            )
            for each in found["columns"] or ()
        ),
    )


def _query(name: str) -> bytes:
    return resources.files("pymilk.generate").joinpath(f"{name}.sql").read_bytes()
