"""What is to be written of a schema: each function as a routine, or why it is left out."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pymilk.generate.catalog import Argument, Catalog, Function
from pymilk.generate.declared import Declared, OrNull, read_comment
from pymilk.generate.meaning import (
    JSON,
    NUMERIC,
    TEXT,
    Choice,
    Maybe,
    Meaning,
    Scalar,
    Shaped,
    is_float,
    maybe,
    quoted,
)
from pymilk.generate.names import Taken, camel, function_name, parameters
from pymilk.generate.refusals import Behaviour, Refusal, read_behaviour
from pymilk.generate.resolve import Field, Resolver, Shape, Unfit, as_given, unique

KEY = "idempotency_key"
"""What a comment documents when an idempotency key has a meaning of its own for the function."""

_KINDS = {"p": "a procedure", "a": "an aggregate", "w": "a window function"}
_TRIGGERS = {"trigger": "a trigger's function", "event_trigger": "an event trigger's function"}
_TEXT = re.compile(r"'((?:[^']|'')*)'::[\w. \"]+")
_NULL = re.compile(r"NULL(?:::[\w. \"\[\]]+)?")
_NUMBER = re.compile(r"'?\(?(-?\d+(?:\.\d+)?)\)?'?(?:::[\w ]+)?")


@dataclass(frozen=True)
class Parameter:
    """A parameter of a routine.

    Attributes:
        python: Its name.
        name: The argument's name in the database.
        type: The argument's type in SQL.
        meaning: What it is.
        default: Its default as Python source; empty when it has none; DEFAULT when only the
            database can say it.
        sentence: What it is for; may be empty.
        variadic: Whether it is a list that the function takes one by one.
    """

    python: str
    name: str
    type: str
    meaning: Meaning
    default: str
    sentence: str
    variadic: bool

    @property
    def is_approximate(self) -> bool:
        """Whether a float is what it takes."""
        return is_float(self.meaning)


@dataclass(frozen=True)
class Routine:
    """A function as it is to be written.

    Attributes:
        python: Its name in Python.
        name: Its name in the database.
        text: What its comment says of it.
        parameters: What it takes.
        shapes: The classes that are its own, inner ones first.
        returns: What comes back; None is void.
        form: Which of `pymilk.rpc.reading` reads it: nothing, value, row, row_or_none, values or
            rows.
        refusals: What it may refuse with.
        key: Which of `pymilk.rpc.call.Key`.
        about_key: What a key means to it, when that is something of its own.
    """

    python: str
    name: str
    text: str
    parameters: tuple[Parameter, ...]
    shapes: tuple[Shape, ...]
    returns: Meaning | None
    form: str
    refusals: tuple[Refusal, ...]
    key: str
    about_key: str


@dataclass(frozen=True)
class LeftOut:
    """A function that isn't written.

    Attributes:
        what: The function, with its arguments.
        why: Why not.
    """

    what: str
    why: str


@dataclass(frozen=True)
class Outline:
    """Everything that is to be written.

    Attributes:
        schema: Whose functions.
        routines: The functions.
        aliases: Lists of texts that have a name.
        composites: The dataclasses of composite types.
        refusals: Every reason, by the name of its class.
        left_out: What isn't written, and why.
    """

    schema: str
    routines: tuple[Routine, ...]
    aliases: dict[str, tuple[str, ...]]
    composites: tuple[Shape, ...]
    refusals: dict[str, Refusal]
    left_out: tuple[LeftOut, ...]


def outline(catalog: Catalog) -> Outline:
    """Decide what is written."""
    behaviour = read_behaviour(catalog.bodies)
    taken = Taken()
    classes = {taken.take(camel(name)): each for name, each in behaviour.refusals.items()}
    resolver = Resolver(catalog, taken)
    routines: list[Routine] = []
    left_out = list(_of_extensions(catalog))
    overloads = Counter(each.name for each in catalog.functions if each.kind == "f")
    for function in catalog.functions:
        if function.extension:
            continue
        try:
            _refuse_uncallable(catalog, function, overloads[function.name])
            python = _name(function, routines)
            routines.append(_routine(function, python, resolver, behaviour))
        except Unfit as reason:
            left_out.append(LeftOut(f"{function.name}({function.signature})", str(reason)))
    return Outline(
        catalog.schema,
        tuple(routines),
        dict(sorted(resolver.aliases.items())),
        tuple(resolver.composites),
        classes,
        tuple(left_out),
    )


def _of_extensions(catalog: Catalog) -> Iterator[LeftOut]:
    counted = Counter(each.extension for each in catalog.functions if each.extension)
    for extension, number in sorted(counted.items()):
        yield LeftOut(f"{number} of the extension {extension}", "they aren't the project's")


def _refuse_uncallable(catalog: Catalog, function: Function, overloads: int) -> None:
    if function.kind in _KINDS:
        raise Unfit(f"{_KINDS[function.kind]}: the API calls plain functions alone")
    returns = catalog.types.get(function.returns)
    if returns is not None and returns.name in _TRIGGERS:
        raise Unfit(_TRIGGERS[returns.name])
    if overloads > 1:
        raise Unfit(f"one of {overloads} of this name, which the API can't tell apart")
    names = [each.name for each in function.inputs]
    if not all(names):
        raise Unfit("an argument without a name can't be given by name")
    if returns is not None and returns.sql == "record" and not function.outputs:
        raise Unfit("it returns records whose columns only its caller could name")


def _name(function: Function, others: Iterable[Routine]) -> str:
    said = function_name(function.name)
    if not said.strip("_") or said in {each.python for each in others}:
        raise Unfit(f"Python has no name of its own for '{function.name}'")
    return said


def _routine(function: Function, python: str, resolver: Resolver, behaviour: Behaviour) -> Routine:
    outputs = frozenset(each.name for each in function.outputs)
    names = frozenset({*(each.name for each in function.arguments), KEY, "returns"})
    try:
        comment = read_comment(function.comment, names - {""}, outputs | {"returns"})
    except ValueError as error:
        raise Unfit(f"its comment can't be read: {error}") from error
    shapes: list[Shape] = []
    stem = camel(function.name)
    given = tuple(_parameters(function, comment, resolver, stem, shapes))
    returns, form = _returns(function, comment, resolver, stem, shapes)
    named = (resolver.catalog.schema, function.name)
    about_key = comment.lines[KEY].sentence if KEY in comment.lines else ""
    return Routine(
        python,
        function.name,
        comment.text,
        given,
        tuple(shapes),
        returns,
        form,
        tuple(behaviour.refusals[reason] for reason in sorted(behaviour.reasons.get(named, ()))),
        ("OF_ANOTHER_CALL" if KEY in comment.lines else "OF_THIS_CALL")
        if named in behaviour.keyed
        else "NOT_TAKEN",
        about_key,
    )


def _parameters(
    function: Function, comment: Declared, resolver: Resolver, stem: str, shapes: list[Shape]
) -> Iterator[Parameter]:
    inputs = function.inputs
    for each, python in zip(inputs, parameters([each.name for each in inputs]), strict=True):
        meaning, made = _declared(each.name, each.type, comment, resolver, stem)
        shapes += as_given(made)
        default = _default(each, meaning)
        if default == "None":
            meaning = maybe(meaning)
        yield Parameter(
            python,
            each.name,
            resolver.catalog.types[each.type].sql,
            meaning,
            default,
            comment.lines[each.name].sentence if each.name in comment.lines else "",
            each.mode == "v",
        )


def _returns(
    function: Function, comment: Declared, resolver: Resolver, stem: str, shapes: list[Shape]
) -> tuple[Meaning | None, str]:
    if function.outputs:
        name = resolver.taken.take(stem + ("Row" if function.several else "Result"))
        columns = tuple(_columns(function, comment, resolver, name, shapes))
        shapes.append(Shape(name, _about(function), columns))
        return Shaped(name), "rows" if function.several else "row"
    returns = resolver.catalog.types.get(function.returns)
    if returns is not None and returns.name == "void":
        return None, "nothing"
    meaning, made = _declared("returns", function.returns, comment, resolver, stem)
    shapes += made
    if isinstance(meaning, Shaped) and _is_composite(function.returns, resolver):
        return (meaning, "rows") if function.several else (Maybe(meaning), "row_or_none")
    declared = comment.lines.get("returns")
    sure = (
        "returns" in comment.never_null
        or (declared is not None and declared.shape is not None)
        or resolver.never_null(function.returns)
    )
    return maybe(meaning, never_null=sure), "values" if function.several else "value"


def _is_composite(oid: str, resolver: Resolver) -> bool:
    found = resolver.catalog.types[oid]
    return found.kind == "c" or (found.kind == "d" and _is_composite(found.base or "", resolver))


def _columns(
    function: Function, comment: Declared, resolver: Resolver, owner: str, shapes: list[Shape]
) -> Iterator[Field]:
    outputs = function.outputs
    if not all(each.name for each in outputs):
        raise Unfit("a column of its result has no name")
    for each, python in zip(outputs, unique(each.name for each in outputs), strict=True):
        meaning, made = _declared(each.name, each.type, comment, resolver, owner)
        shapes += made
        declared = comment.lines.get(each.name)
        sure = each.name in comment.never_null or resolver.never_null(each.type)
        if declared is None or declared.shape is None:
            meaning = maybe(meaning, never_null=sure)
        elif sure and isinstance(meaning, Maybe) and not isinstance(declared.shape, OrNull):
            meaning = meaning.item  # of a column that can be null, but not here
        yield Field(python, each.name, meaning, declared.sentence if declared else "")


def _declared(
    name: str, oid: str, comment: Declared, resolver: Resolver, owner: str
) -> tuple[Meaning, list[Shape]]:
    line = comment.lines.get(name)
    if line is None or line.shape is None:
        return resolver.of_type(oid), []
    part = name.removeprefix("p_") if name != "returns" else "Result"
    return resolver.of_shape(line.shape, owner, part)


def _about(function: Function) -> str:
    return (
        f"A row that `{function.name}` answers."
        if function.several
        else f"What `{function.name}` answers."
    )


def _default(argument: Argument, meaning: Meaning) -> str:  # noqa: PLR0911 - a form each
    """A default as Python source, where Python can say it."""
    said = argument.default
    if said is None:
        return ""
    if _NULL.fullmatch(said):
        return "None"
    if meaning == TEXT or isinstance(meaning, Choice):
        text = _TEXT.fullmatch(said)
        value = text[1].replace("''", "'") if text else None
        if value is not None and (not isinstance(meaning, Choice) or value in meaning.known):
            return quoted(value)
    if isinstance(meaning, Scalar) and meaning != JSON:
        number = _NUMBER.fullmatch(said)
        if meaning.result == "bool" and said in {"true", "false"}:
            return said.capitalize()
        if meaning.result == "int" and number and number[1].lstrip("-").isdigit():
            return str(int(number[1]))
        if meaning == NUMERIC and number:
            return f'Decimal("{number[1]}")'
    return "DEFAULT"
