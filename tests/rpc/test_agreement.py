"""The client and the database's functions say the same: names, arguments, columns, refusals."""

import inspect
import re
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pymilk import errors, rpc
from pymilk.rpc import calls
from support.databases import Database

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {path.stem: path.read_text() for path in (ROOT / "sql/functions").glob("**/*.sql")}
NOBODY = UUID(int=0)

CALLS: dict[str, rpc.Call[Any]] = {
    call.function: call
    for call in (
        rpc.allocate_payment_atomic(payment_id=NOBODY, allocations=[]),
        rpc.business_today(),
        rpc.check_payment_invariants(),
        rpc.request_outcome(key="1"),
    )
}


def reasons_in(source: str) -> set[str]:
    """The reasons that are raised in a file: the message beside an errcode of class PT."""
    raised = re.findall(r"errcode = 'PT\d{3}',\s*message = '([a-z_]+)'", source)
    return set(raised)


def test_every_reason_has_its_class_and_every_class_its_reason() -> None:
    raised = set().union(*map(reasons_in, SOURCES.values()))
    assert raised == errors.Refusal.by_reason.keys()


def test_nothing_is_refused_in_another_way_of_writing() -> None:
    # So that the pattern above can't miss one.
    for name, source in SOURCES.items():
        assert source.count("'PT") == len(
            re.findall(r"errcode = 'PT\d{3}',\s*message = '", source)
        ), name


def test_every_call_is_known_to_these_tests() -> None:
    made = {name for name, each in vars(calls).items() if _makes_a_call(each)}
    assert made == CALLS.keys()


def test_arguments_and_columns_are_the_databases(dairy_001: Database) -> None:
    declared = dairy_001.connect().execute(
        """
        select function.proname, argument.name, format_type(argument.type, null), argument.mode
        from pg_proc as function
        cross join lateral (
          select name, type, mode, position
          from unnest(
            function.proargnames,
            coalesce(function.proallargtypes, function.proargtypes::oid[]),
            coalesce(function.proargmodes, array_fill('i'::"char", array[function.pronargs]))
          ) with ordinality as named (name, type, mode, position)
        ) as argument
        where function.pronamespace = 'public'::regnamespace and function.proname = any (%s)
        order by function.proname, argument.position
        """,
        [list(CALLS)],
    )
    rows = declared.fetchall()
    arguments = [row[:3] for row in rows if row[3] == "i"]
    columns = [row[:2] for row in rows if row[3] in ("o", "t")]
    calls_by_name = sorted(CALLS.items())
    assert arguments == [
        (name, each.name, each.type) for name, call in calls_by_name for each in call.arguments
    ]
    assert columns == [(name, each) for name, _ in calls_by_name for each in _fields(name)]


def test_each_function_is_there_once(dairy_001: Database) -> None:
    # An overload would break PostgREST's choice by argument names.
    found = dairy_001.connect().execute(
        """
        select proname from pg_proc
        where pronamespace = 'public'::regnamespace and proname = any (%s) order by proname
        """,
        [list(CALLS)],
    )
    assert [name for (name,) in found] == sorted(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_the_docstring_tells_the_refusals_that_the_function_tells(name: str) -> None:
    told = re.findall(r"errors\.(\w+)", inspect.getdoc(getattr(rpc, name)) or "")
    header = SOURCES[name].partition("create or replace function")[0]
    by_class = {kind.__name__: reason for reason, kind in errors.Refusal.by_reason.items()}
    reasons = {reason for reason in errors.Refusal.by_reason if re.search(rf"\b{reason}\b", header)}
    assert {by_class[each] for each in told} == reasons | reasons_in(SOURCES[name])


@pytest.mark.parametrize("kind", errors.Refusal.by_reason.values())
def test_a_refusals_docstring_is_its_sentence(kind: type[errors.Refusal]) -> None:
    sentence = inspect.getdoc(kind) or ""
    assert re.fullmatch(r"[A-Z][^\n]+\.", sentence)
    assert str(kind("any", {}, "", 409)) == sentence


def _makes_a_call(value: object) -> bool:
    return (
        inspect.isfunction(value)
        and value.__module__ == calls.__name__
        and inspect.signature(value).return_annotation.__origin__ is rpc.Call
    )


def _fields(name: str) -> list[str]:
    stem = "".join(part.capitalize() for part in name.split("_"))
    for suffix in ("Result", "Row"):
        shape = getattr(calls, stem + suffix, None)
        if shape is not None:
            return list(shape.__dataclass_fields__)
    return []
