"""Calls of functions by their names, with arguments as a person writes them."""

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from pymilk import Client
from pymilk.generate.by_name import call_by_name
from pymilk.generate.catalog import Catalog, read_catalog
from pymilk.problem import UsageProblem
from support.databases import Database, Templates

SCHEMA = Path(__file__).with_name("foreign.sql")


@pytest.fixture(scope="module")
def shop(templates: Templates) -> Iterator[Database]:
    """A database with a schema in it that nobody wrote for the generator."""
    with templates.clone("empty") as database:
        with database.connect() as connection:
            connection.execute(SCHEMA.read_bytes())
        yield database


@pytest.fixture(scope="module")
def catalog(shop: Database) -> Catalog:
    """Its catalog."""
    with shop.connect(autocommit=True) as connection:
        return read_catalog(connection, "shop")


@pytest.mark.parametrize(
    ("function", "given", "said"),
    [
        ("nowhere", {}, "There are: .*f_bool"),
        ("total", {"p_a": "1"}, "one of 2"),
        ("f_int", {"x": "1"}, "takes no argument 'x'"),
        ("f_int", {}, "needs value"),
        ("nothing", {"x": "1"}, "It takes none"),
        ("f_ints", {"value": "[1"}, "is no JSON"),
    ],
)
def test_what_it_can_not_be_called_with_is_said(
    catalog: Catalog, function: str, given: dict[str, str], said: str
) -> None:
    with pytest.raises(UsageProblem) as refused:
        call_by_name(catalog, function, given)
    problem = refused.value
    assert re.search(said, f"{problem.happened} {problem.todo}")


@pytest.mark.parametrize(
    ("function", "given", "answer"),
    [
        ("f_int", {"value": "7"}, 7),
        ("f_int", {"p_value": "null"}, None),
        ("f_bool", {"value": "true"}, True),
        ("f_mood", {"value": "happy"}, "happy"),
        ("f_ints", {"value": "[1, null]"}, [1, None]),
        ("f_settings", {"value": '{"a": 0.1}'}, {"a": Decimal("0.1")}),
        (
            "f_address",
            {"value": '{"zip": 1}'},
            {"street": None, "class": None, "zip": 1, "lines": None},
        ),
        ("f_variadic", {"values": "[1, 2]"}, 3),
        ("some_rows", {"number": "1"}, [{"a": 1, "Two Words": "x"}]),
        ("nothing", {}, None),
        ("only_default", {}, False),
    ],
)
def test_it_answers_as_json(
    shop: Database, catalog: Catalog, function: str, given: dict[str, str], answer: object
) -> None:
    with Client.postgres(shop.url) as client:
        assert client.call(call_by_name(catalog, function, given)) == answer
