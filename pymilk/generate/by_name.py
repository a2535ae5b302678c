"""A call of a function by its name, with arguments as a person writes them."""

import json
from collections.abc import Mapping
from decimal import Decimal

from pymilk.generate.catalog import Catalog, Type
from pymilk.generate.meaning import DictOf, ListOf, Maybe, Meaning, Shaped
from pymilk.generate.routines import Outline, Parameter, Routine, outline
from pymilk.problem import UsageProblem
from pymilk.rpc.call import Argument, Call, Json, Key, Returns, Rows
from pymilk.rpc.refusals import REFUSALS

_NOT_CALLED = "Nothing was called."


def call_by_name(catalog: Catalog, function: str, given: Mapping[str, str]) -> Call[Json]:
    """The call of a function, whose answer is JSON: an object, a value, or a list of them.

    Args:
        catalog: Of the database that it is made in.
        function: Its name.
        given: Its arguments as text, by their names with or without `p_`; what has parts, as JSON.

    Raises:
        UsageProblem: There is no such function, or it doesn't take that.
    """
    found = outline(catalog)
    routine = _routine(found, function)
    by_name = {name: each for each in routine.parameters for name in (each.name, each.python)}
    unknown = [name for name in given if name not in by_name]
    if unknown:
        raise UsageProblem(
            f"{function} takes no argument '{unknown[0]}'.",
            state=_NOT_CALLED,
            todo=_takes(routine),
        )
    values = {by_name[name]: text for name, text in given.items()}
    missing = [each for each in routine.parameters if each not in values and not each.default]
    if missing:
        raise UsageProblem(
            f"{function} needs {missing[0].python}.", state=_NOT_CALLED, todo=_takes(routine)
        )
    types = {each.sql: each for each in catalog.types.values()}
    return Call(
        routine.name,
        tuple(
            Argument(each.name, each.type, _value(each, text, types[each.type]), each.variadic)
            for each, text in values.items()
        ),
        _returns(routine),
        schema=catalog.schema,
        key=Key[routine.key],
        refusals=REFUSALS,
    )


def _routine(found: Outline, function: str) -> Routine:
    for routine in found.routines:
        if function in {routine.name, routine.python}:
            return routine
    why = [each.why for each in found.left_out if each.what.startswith(f"{function}(")]
    raise UsageProblem(
        f"{function} can't be called: {why[0]}."
        if why
        else f"Schema {found.schema} has no function {function}.",
        state=_NOT_CALLED,
        todo="There are: " + ", ".join(each.python for each in found.routines) + "."
        if found.routines and not why
        else "",
    )


def _takes(routine: Routine) -> str:
    if not routine.parameters:
        return "It takes none."
    said = [f"{each.python}{'' if each.default else ' (needed)'}" for each in routine.parameters]
    return f"It takes: {', '.join(said)}."


def _value(parameter: Parameter, text: str, declared: Type) -> Json:
    """A value as it is sent: JSON where its type has parts; else the text, which Postgres reads."""
    if text == "null":
        return None
    if not (_has_parts(parameter.meaning) or declared.name in {"json", "jsonb"}):
        return text
    try:
        parsed: Json = json.loads(text, parse_float=lambda number: str(Decimal(number)))
    except ValueError as error:
        raise UsageProblem(
            f"{parameter.python} is no JSON: {error}.",
            state=_NOT_CALLED,
            todo=f"""Write it like --arg {parameter.python}='[{{"amount": 300.50}}]'.""",
        ) from error
    return parsed


def _has_parts(meaning: Meaning) -> bool:
    if isinstance(meaning, Maybe):
        return _has_parts(meaning.item)
    return isinstance(meaning, ListOf | DictOf | Shaped)


def _returns(routine: Routine) -> Returns[Json]:
    def read(rows: Rows) -> Json:
        if routine.form == "nothing":
            return None
        return list(rows) if several else rows[0]

    several = routine.form in {"rows", "values"}
    return Returns(several, routine.form in {"row", "rows", "row_or_none"}, read)
