"""What a function's comment may declare, and what is prose."""

import pytest

from pymilk.generate.declared import (
    Declared,
    Key,
    Keyed,
    Line,
    Listed,
    Named,
    Object,
    OrNull,
    Texts,
    read_comment,
)

NAMES = frozenset({"p_a", "b", "c", "returns", "idempotency_key"})
COLUMNS = frozenset({"b", "c"})


def line(said: str) -> Line | None:
    """What one line declares of p_a."""
    return read_comment(f"First.\n\n{said}", NAMES, COLUMNS).lines.get("p_a")


@pytest.mark.parametrize(
    ("said", "shape"),
    [
        ("p_a uuid", Named("uuid")),
        ("p_a uuid: what it is", Named("uuid")),
        ("p_a orders.status", Named("orders.status")),
        ("p_a text[] | null", OrNull(Named("text", is_list=True))),
        ('p_a "a" | "b c"', Texts(("a", "b c"))),
        ('p_a "a" | null | "b"', OrNull(Texts(("a", "b")))),
        ("p_a [uuid]", Listed(Named("uuid"))),
        ("p_a {*: [numeric]}", Keyed(Listed(Named("numeric")))),
        (
            'p_a [{"x": numeric, "y"?: {"z": double precision | null}}]: so',
            Listed(
                Object(
                    (
                        Key("x", Named("numeric"), may_be_missing=False),
                        Key(
                            "y",
                            Object(
                                (Key("z", OrNull(Named("double precision")), may_be_missing=False),)
                            ),
                            may_be_missing=True,
                        ),
                    )
                )
            ),
        ),
    ],
)
def test_a_line_declares_what_it_is(said: str, shape: object) -> None:
    found = line(said)
    assert found is not None
    assert found.shape == shape


@pytest.mark.parametrize(
    "prose",
    ["It is so: p_a uuid", "p_a is what you think", "p_ax uuid", "Note: [uuid]", "b of c: none"],
)
def test_what_is_not_a_declaration_is_prose(prose: str) -> None:
    found = read_comment(f"First.\n\n{prose}", NAMES, COLUMNS)
    assert found == Declared(f"First.\n\n{prose}")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ('p_a [{"x": uuid', "missing"),
        ("p_a {x: uuid}", "double quotes"),
        ("p_a [uuid] and more", "colon"),
        ("p_a [uuid | numeric]", "alternatives"),
        ("never null: d", "no column d"),
    ],
)
def test_a_declaration_that_goes_wrong_is_told(said: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        line(said)


def test_the_rest_of_a_comment() -> None:
    found = read_comment(
        "What it does,\nin two lines.\n\np_a: the first\n  and its second line\nb uuid\n\n"
        "More prose.\n\nidempotency_key: names another\nNever null: all but c.",
        NAMES,
        COLUMNS,
    )
    assert found.text == "What it does,\nin two lines.\n\nMore prose."
    assert found.lines["p_a"] == Line(None, "the first and its second line")
    assert found.lines["b"] == Line(Named("uuid"), "")
    assert found.lines["idempotency_key"].sentence == "names another"
    assert found.never_null == {"b"}
    assert read_comment("", NAMES, COLUMNS) == Declared()
