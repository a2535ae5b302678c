"""What can be read off a chart's axes."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from babel import Locale
from bs4 import BeautifulSoup

from pymilk.report.charts import Axis, Picture, Point, lines
from pymilk.report.wording import Wording

PLAIN = Wording(Locale.parse("en"), None, ZoneInfo("UTC"))
PICTURE = Picture("A name", "What it shows.")
BEGIN = datetime(2025, 9, 16, 18, 30, tzinfo=UTC)


def labels(axis: Axis, span: timedelta, values: list[float]) -> list[str]:
    """What stands along both axes of a line."""
    step = span / (len(values) - 1)
    points = [Point(BEGIN + step * number, "s", value) for number, value in enumerate(values)]
    soup = BeautifulSoup(str(lines(PICTURE, axis, points, PLAIN)), "html.parser")
    return [text.get_text() for text in soup.find_all("text")]


@pytest.mark.parametrize("seconds", [5, 40, 120, 599])
def test_moments_of_a_short_watch_are_told_apart(seconds: int) -> None:
    moments = [
        label
        for label in labels(Axis("rows"), timedelta(seconds=seconds), [0.0, 1.0])
        if label.count(":") == 2
    ]
    assert len(moments) > 1
    assert len(set(moments)) == len(moments)


@pytest.mark.parametrize(("span", "like"), [(timedelta(hours=1), ":"), (timedelta(days=9), "Sep")])
def test_those_of_a_long_one_without_seconds(span: timedelta, like: str) -> None:
    moments = [label for label in labels(Axis("rows"), span, [0.0, 1.0]) if like in label]
    assert len(set(moments)) > 2
    assert all(label.count(":") < 2 for label in moments)


@pytest.mark.parametrize("most", [1.0, 2.0, 3.0])
def test_of_things_there_are_whole_numbers(most: float) -> None:
    told = labels(Axis("rows", counted=True), timedelta(hours=1), [0.0, most])
    assert {"0", "1"} <= set(told)
    assert [label for label in told if "." in label] == []
    assert "0.2" in labels(Axis("seconds"), timedelta(hours=1), [0.0, 1.0])
