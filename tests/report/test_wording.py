"""Numbers, money and moments as a business writes them; colours that can be read."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from importlib import resources
from zoneinfo import ZoneInfo

import pytest
from babel import Locale

from pymilk.problem import UsageProblem
from pymilk.project.project import load_project
from pymilk.project.query_header import first_paragraph, read_header
from pymilk.report.wording import Wording, wording_of
from support.databases import ROOT
from support.projects import Toy

DAIRY = Wording(Locale.parse("en_IN"), "INR", ZoneInfo("Asia/Kolkata"))
SHOP = Wording(Locale.parse("de"), "EUR", ZoneInfo("Europe/Berlin"))
PLAIN = Wording(Locale.parse("en"), None, ZoneInfo("UTC"))


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        ("260757", "₹2,60,757.00"),
        ("1234567890.5", "₹1,23,45,67,890.50"),
        (Decimal("-0.5"), "-₹0.50"),
        ("0.005", "₹0.005"),  # never rounded: somebody has to see it
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("1e999999", "1e999999"),
        ("Asha", "Asha"),
    ],
)
def test_rupees(amount: str | Decimal, said: str) -> None:
    assert DAIRY.money(amount) == said


def test_another_country_and_none() -> None:
    assert SHOP.money("1234567.5") == "1.234.567,50\N{NO-BREAK SPACE}€"
    assert PLAIN.money("1234567.5") == "1,234,567.50"
    assert DAIRY.number("1234567") == "12,34,567"
    assert SHOP.numbers_of_charts()["currency"] == ["", "\N{NO-BREAK SPACE}€"]
    assert DAIRY.numbers_of_charts()["currency"] == ["₹", ""]


def test_a_moment_is_the_business_days() -> None:
    """Half past six in the evening in London is the next day in Kolkata."""
    moment = datetime(2025, 9, 17, 18, 45, 3, tzinfo=UTC)
    assert DAIRY.moment(moment) == "Thu 18 Sept 2025, 00:15"
    assert DAIRY.clock(moment) == "00:15:03"


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.0123, "12 ms"), (1.25, "1.2 s"), (59.94, "59.9 s"), (125, "2 min 5 s")]
)
def test_how_long(seconds: float, said: str) -> None:
    assert DAIRY.seconds(seconds) == said


def test_the_dairy_counts_in_rupees_by_its_own_clock() -> None:
    assert wording_of(load_project(ROOT)) == DAIRY


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ('locale = "klingon"', "'klingon' is no language"),
        ('currency = "ABC"', "'ABC' is no currency"),
        ('colour = "red"', "colour is no setting"),
    ],
)
def test_settings_that_cannot_be(setting: str, said: str, toy: Toy) -> None:
    toy.settings(f"[tool.pymilk.report]\n{setting}\n")
    with pytest.raises(UsageProblem, match=said):
        wording_of(load_project(toy.root))


def test_without_settings_nothing_is_assumed(toy: Toy) -> None:
    toy.settings("")
    assert wording_of(load_project(toy.root)) == PLAIN


def test_what_a_query_says_of_itself() -> None:
    header = read_header(
        "-- Who owes what. As of today,\n-- from the rows.\n--\n-- outstanding: what is unpaid.\n"
        "-- money: outstanding,\n--   credit\n-- name: billing_name\n-- do: call them.\n"
        "select 1; -- money: nothing"
    )
    assert header.title == "Who owes what."
    assert header.more == "As of today, from the rows. outstanding: what is unpaid."
    assert header.money == ("outstanding", "credit")
    assert header.name == "billing_name"
    assert header.directives["do"] == "call them."
    assert header.chart == ""
    assert read_header("select 1").title == ""


def test_why_a_migration_is_there() -> None:
    assert (
        first_paragraph("--\n-- GAP-001: two\n-- callers.\n--\n-- More.\n")
        == "GAP-001: two callers."
    )
    assert first_paragraph("select 1;") == ""


def schemes() -> dict[str, dict[str, str]]:
    """Light, dark and print → the variables of the style sheet."""
    css = resources.files("pymilk.report").joinpath("templates/style.css").read_text("utf-8")
    found = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    colours = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in found]
    return dict(zip(("light", "dark", "print"), colours, strict=True))


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """As WCAG 2 defines it."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_colours_can_be_read(scheme: str) -> None:
    """Text 4.5 to 1, what is drawn 3 to 1, on the page and on a card."""
    colours = schemes()[scheme]
    assert set(colours) == set(schemes()["light"])
    for ground in (colours["page"], colours["card"]):
        for name, colour in colours.items():
            if name in {"page", "card", "line"}:
                continue
            least = 3 if name.startswith("series") else 4.5
            assert contrast(colour, ground) >= least, name
