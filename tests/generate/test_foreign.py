"""A schema that nobody wrote for the generator: each function is right, or said to be left out."""

import datetime as dt
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pymilk import Client, errors
from pymilk.generate.module import Wanted, generate, write
from support.databases import ROOT, Database, Templates
from support.tools import left_out, tool

SCHEMA = Path(__file__).with_name("foreign.sql")
RUFF = Path(sys.executable).with_name("ruff")


@pytest.fixture(scope="session")
def shop(templates: Templates) -> Iterator[Database]:
    """A database with the schema in it."""
    with templates.clone("empty") as database:
        with database.connect() as connection:
            connection.execute(SCHEMA.read_bytes())
        yield database


@pytest.fixture(scope="session")
def path(shop: Database, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module that is made of it."""
    made = tmp_path_factory.mktemp("shop") / "shop.py"
    with shop.connect(autocommit=True) as connection:
        write(generate(connection, Wanted("shop", made, None), made.parent))
    return made


@pytest.fixture(scope="session")
def made(path: Path) -> Any:  # noqa: ANN401 - a module that no type checker has seen
    """The module, imported."""
    spec = importlib.util.spec_from_file_location("shop_made", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["shop_made"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def client(shop: Database) -> Iterator[Client]:
    """A client on the database."""
    with Client.postgres(shop.url) as made:
        yield made


def test_every_function_is_there_or_said_to_be_left_out(shop: Database, path: Path) -> None:
    text = path.read_text()
    rows = shop.connect().execute(
        "select proname, count(*) from pg_proc where pronamespace = 'shop'::regnamespace group by 1"
    )
    names: dict[str, int] = dict(rows.fetchall())
    assert sum(names.values()) >= 50
    called = re.findall(r"^    return Call\(\n        \"(.+)\",$", text, re.MULTILINE)
    spoken = re.sub(r"\n#     ", " ", text.partition("# Left out:")[2])
    for name, number in names.items():
        told = len(re.findall(rf"#   {re.escape(name)}\(", spoken))
        assert called.count(name) + told == number, name
    why = dict(re.findall(r"#   (\w+)\(.*?\): (.+)", spoken))
    assert "procedure" in why["tidy"]
    assert "aggregate" in why["product"]
    assert "trigger" in why["on_change"]
    assert "one of 2" in why["total"]
    assert "name" in why["unnamed"]
    assert "comment can't be read" in why["misdeclared"]
    assert set(why) == {
        *("half_named", "misdeclared", "on_change", "on_ddl", "product", "records", "some_record"),
        # Postgres itself makes constructors of the range.
        *("span", "span_multirange", "tidy", "total", "unnamed", "whatever"),
    }


def test_it_is_the_same_again(shop: Database, path: Path) -> None:
    with shop.connect(autocommit=True) as connection:
        connection.execute("set search_path = shop, public")
        again = generate(connection, Wanted("shop", path, None), path.parent)
    assert again.files[0].is_current


def test_it_is_formatted_and_linted(path: Path) -> None:
    for command in (
        ["format", "--check"],
        ["check", "--select", "E,F,W,I,UP,B", "--ignore", "E741"],
    ):
        subprocess.run(
            [RUFF, *command, "--line-length", "100", "--target-version", "py311", path],
            check=True,
            capture_output=True,
        )


def test_mypy_has_nothing_to_say(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", path],  # by the project's own settings: strict
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("Success"), done.stdout


@pytest.mark.long
@pytest.mark.skipif(tool("pyright") is None, reason=left_out("pyright"))
def test_pyright_has_nothing_to_say(path: Path) -> None:
    program = tool("pyright")
    assert program is not None
    (path.parent / "pyrightconfig.json").write_text(
        json.dumps({"typeCheckingMode": "strict", "extraPaths": [str(ROOT)]})
    )
    done = subprocess.run(
        [program, "--pythonpath", sys.executable, "--project", path.parent, "--outputjson"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(done.stdout)["generalDiagnostics"]
    assert [(each["message"], each["range"]["start"]["line"] + 1) for each in found] == []


def test_every_value_comes_back_as_it_went(client: Client, made: Any) -> None:  # noqa: ANN401
    address = made.Address(street='Main, "St"', class_="a", zip=1, lines=["a", None])
    moment = dt.datetime(2025, 9, 16, 12, 30, 1, 5, tzinfo=dt.UTC)
    there_and_back = {
        "f_bool": True,
        "f_int": -(2**31),
        "f_small": 7,
        "f_big": 2**63 - 1,
        "f_float": 0.5,
        "f_numeric": Decimal("-12345678901234567890.0123456789"),
        "f_bytes": b"\x00\xff'\\",
        "f_date": moment.date(),
        "f_time": dt.time(1, 2, 3),
        "f_stamp": moment.replace(tzinfo=None),
        "f_moment": moment,
        "f_interval": "1 day 02:00:00",
        "f_mood": 'sad "really"',
        "f_email": "a@b.c",
        "f_size": "M",
        "f_share": Decimal("0.1250"),
        "f_tags": ["a", None],
        "f_settings": {"a": [1, None]},
        "f_span": "[1,2.5)",
        "f_inet": "10.0.0.1",
        "f_ints": [1, 2],
        "f_moods": ["happy", "it's complicated"],
        "f_floats": [0.1, -2.5],
        "f_address": address,
        "f_parcel": made.Parcel(
            weight=Decimal("1.50"), destination=address, from_=moment.date(), feelings=["happy"]
        ),
    }
    for name, value in there_and_back.items():
        assert client.call(getattr(made, name)(value=value)) == value, name
    assert client.call(made.f_addresses(value=[address, address])) == [address, address]
    assert client.call(made.f_variadic(values=[1, 2, 3])) == 6


def test_floats_that_are_no_numbers(client: Client, made: Any) -> None:  # noqa: ANN401
    assert client.call(made.f_float(value=float("-inf"))) == float("-inf")
    assert str(client.call(made.f_float(value=float("nan")))) == "nan"


def test_each_kind_of_result(client: Client, made: Any) -> None:  # noqa: ANN401
    assert client.call(made.nothing()) is None
    assert client.call(made.some_values()) == [1, None, 3]
    rows = client.call(made.some_rows(number=2))
    assert [(row.a, row.Two_Words) for row in rows] == [(1, "x"), (2, "x")]
    assert client.call(made.one_column()).only_one == 1
    assert [row.a for row in client.call(made.table_of_one())] == [1, 2]
    assert client.call(made.find_order(id=uuid4())) is None
    order = made.Orders(
        id=uuid4(),
        status="paid",
        kind=None,
        total=Decimal("1.50"),
        date=dt.date(2025, 1, 1),
        placed_at=dt.datetime(2025, 1, 1, tzinfo=dt.UTC),
        note=None,
        destination=None,
    )
    assert client.call(made.orders_like(like=order)) == [order]
    both = client.call(made.inout_of(a=1, b="x"))
    assert (both.p_a, both.b) == (2, "x!")


def test_names_that_python_has_taken(client: Client, made: Any) -> None:  # noqa: ANN401
    assert client.call(made.class_(from_=1, import_=2, class_=3)) == 6
    assert client.call(made.Two_Words(First_Word="a")) == "a"
    assert client.call(made.list_(p_list=3, list_=1)) == 2
    assert client.call(made.Call_(given_=1, argument_="", reading_=2, p_x=3)) == 1


def test_defaults_are_pythons_or_the_databases(client: Client, made: Any) -> None:  # noqa: ANN401
    said = client.call(made.defaults())
    assert said == '7|it\'s|-1.50|t|happy|{"a": 1}|{}|2025-01-01'
    assert made.defaults.__kwdefaults__["c"] == Decimal("-1.50")
    assert client.call(made.defaults(a=1, h={"b": []}, i=[1])).startswith("1|it's")
    assert client.call(made.only_default(flag=True)) is True


def test_refusals_are_classes_of_the_module(client: Client, made: Any) -> None:  # noqa: ANN401
    assert set(made.REFUSALS) == {"number_negative", "number_required", "out_of_stock"}
    call = made.order_some(number=11)
    with pytest.raises(made.OutOfStock) as refused:
        client.call(call)
    assert isinstance(refused.value, errors.Refusal)
    assert (refused.value.status, refused.value.hint) == (409, "Order fewer than eleven.")
    assert refused.value.idempotency_key is not None
    with pytest.raises(made.NumberNegative):
        client.call(made.order_some(number=-1))
    for name in ("OutOfStock", "NumberNegative", "NumberRequired"):
        assert name in made.order_some.__doc__


def test_what_a_comment_declares(client: Client, made: Any) -> None:  # noqa: ANN401
    item = {"sku": "milk", "count": 2, "class": "A"}
    quote = client.call(made.quote_parcel(items=[item], speed="fast"))
    assert quote.price == Decimal("9.90")
    assert quote.steps[0].at == dt.date(2025, 1, 1)
    assert quote.steps[0].by is None
    hints = made.quote_parcel.__annotations__
    assert str(hints["speed"]) == "typing.Literal['slow', 'fast']"
    assert "Where it goes." in made.QuoteParcelResult.__doc__
