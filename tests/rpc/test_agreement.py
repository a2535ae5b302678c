"""The client and the database's functions say the same: what is generated is current and whole."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from pymilk import errors, rpc
from pymilk.generate.module import Wanted, generate
from pymilk.rpc import functions, refusals
from support.databases import Database

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {path.stem: path.read_text() for path in (ROOT / "sql/functions").glob("**/*.sql")}
CALLS: dict[str, Any] = {
    name: each
    for name, each in vars(functions).items()
    if inspect.isfunction(each) and each.__module__ == functions.__name__
}
WANTED = Wanted("public", Path(functions.__file__), Path(refusals.__file__))


def reasons_in(source: str) -> set[str]:
    """The reasons that are raised in a file: the message beside an errcode of class PT."""
    raised = re.findall(r"errcode = 'PT\d{3}',\s*message = '([a-z_]+)'", source)
    return set(raised)


def test_what_is_generated_is_what_the_database_says(dairy_hardened: Database) -> None:
    with dairy_hardened.connect(autocommit=True) as connection:
        generated = generate(connection, WANTED, ROOT)
    assert [file.path.name for file in generated.files if not file.is_current] == []
    assert generated.left_out == ()


def test_every_reason_has_its_class_and_every_class_its_reason() -> None:
    # Read out of the files by another way than the generator's.
    raised = set().union(*map(reasons_in, SOURCES.values()))
    assert raised == refusals.REFUSALS.keys()
    assert {kind.__name__ for kind in refusals.REFUSALS.values()} <= vars(errors).keys()
    ours = [
        each for each in errors.Refusal.__subclasses__() if each.__module__ == refusals.__name__
    ]
    assert {kind.__name__ for kind in ours} == {
        "".join(map(str.capitalize, reason.split("_"))) for reason in raised
    }


def test_nothing_is_refused_in_another_way_of_writing() -> None:
    # So that the pattern above can't miss one.
    for name, source in SOURCES.items():
        assert source.count("'PT") == len(
            re.findall(r"errcode = 'PT\d{3}',\s*message = '", source)
        ), name


@pytest.mark.parametrize("name", [name for name in CALLS if name in SOURCES])
def test_the_docstring_tells_the_refusals_that_the_function_tells(name: str) -> None:
    told = set(re.findall(r"\b([A-Z]\w+)(?:,|$)", inspect.getdoc(CALLS[name]) or "", re.MULTILINE))
    section = re.search(
        r"^-- Refusals.*?(?=^--$|^-- Locks|^$)", SOURCES[name], re.MULTILINE | re.DOTALL
    )
    header = section[0] if section else ""
    reasons = {reason for reason in refusals.REFUSALS if re.search(rf"\b{reason}\b", header)}
    named = {refusals.REFUSALS[reason].__name__ for reason in reasons | reasons_in(SOURCES[name])}
    # What it calls may refuse more than it can come to: the body alone can't tell.
    assert named <= told


def test_a_keyed_function_is_known_by_its_body() -> None:
    keyed = {
        name
        for name, source in SOURCES.items()
        if name in CALLS and "private.idempotency_key()" in source
    }
    assert keyed == {name for name, call in CALLS.items() if "key=Key." in inspect.getsource(call)}
    named = [name for name, each in CALLS.items() if "OF_ANOTHER_CALL" in inspect.getsource(each)]
    assert named == ["rollback_partial_allocation"]


@pytest.mark.parametrize("kind", refusals.REFUSALS.values())
def test_a_refusal_says_what_it_is(kind: type[errors.Refusal]) -> None:
    sentence, *hints = (inspect.getdoc(kind) or "").split("\n\n")
    assert re.fullmatch(r"[A-Z][^\n]+ \((4\d\d)(, 4\d\d)*\)\.", sentence)
    assert all(hint.endswith(".") for hint in hints)


def test_a_call_is_public_by_its_name() -> None:
    assert set(functions.__all__) <= set(dir(rpc))
