"""Charts as inline SVG, drawn by Vega-Lite: what to draw is said here, how is its business.

Colours are the page's own CSS variables, so that a chart follows light and dark and prints. A chart
is one image with a name and a description; the numbers stand in a table beside it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from xml.etree import ElementTree as ET

import vl_convert
from markupsafe import Markup

from pymilk.report.wording import Wording

# The grammar that the charts are written in; the converter has several.
_VEGA_LITE = "6.4"
_SVG = "http://www.w3.org/2000/svg"

# As wide as a telephone: on a wider page they are scaled up, never down.
_WIDTH = 360
_BAR_STEP = 26
_PADDING = 5
# Names of bars may be wider in the reader's font than in the one that the converter measures with.
_WIDER = 16
_HEIGHT = 160
# So many labels have room beside each other.
_FEW = 5

# Of the page's CSS, each readable on light and on dark.
_COLOURS = [f"var(--series-{number})" for number in range(1, 7)]

_CONFIG = {
    "background": "transparent",
    # Labels and all: each chart is as wide as the others.
    "autosize": {"type": "fit-x", "contains": "padding"},
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "domainColor": "currentColor",
        "tickColor": "currentColor",
        "gridColor": "var(--line)",
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "labelLimit": 120,
    },
    "legend": {
        "labelColor": "currentColor",
        "labelFontSize": 11,
        "orient": "bottom",
        "title": None,
        # Two of the names that files have stand beside each other; of longer ones the beginning.
        "columns": 2,
        "labelLimit": 140,
        "symbolStrokeColor": "transparent",
    },
    "range": {"category": _COLOURS},
    "bar": {"color": _COLOURS[0]},
    "line": {"color": _COLOURS[0], "strokeWidth": 1.5},
}

_A_DAY = timedelta(days=1)
# In less than that, some of the labels would say the same minute.
_MINUTES = timedelta(minutes=10)

_numbers = count(1)


@dataclass(frozen=True)
class Picture:
    """What a chart is called, and what it shows, for who doesn't see it."""

    name: str
    description: str


@dataclass(frozen=True)
class Point:
    """One value of a series at a moment."""

    at: datetime
    series: str
    value: float


@dataclass(frozen=True)
class Axis:
    """What a value is: its title, whether it is a sum of money, or a number of things."""

    title: str
    money: bool = False
    counted: bool = False

    def encoded(self, values: Iterable[float]) -> dict[str, object]:
        """As Vega-Lite has it; where all values are 0, they lie on the axis."""
        values = tuple(values)
        # Between few things Vega-Lite puts halves, whatever it is told of steps.
        whole = list(range(int(max(values)) + 1)) if self.counted and max(values) < _FEW else None
        return {
            "scale": {} if any(values) else {"domain": [0, 1]},
            "field": "value",
            "type": "quantitative",
            "title": self.title,
            "axis": {
                "format": "$,.0f" if self.money else ",~f",
                "tickCount": 4,
                "labelFlush": True,
                **({"values": whole} if whole else {}),
            },
        }


def bars(
    picture: Picture, axis: Axis, values: Iterable[tuple[str, float]], wording: Wording
) -> Markup:
    """A bar for each name, in the order given."""
    rows: list[dict[str, str | float]] = [{"name": name, "value": value} for name, value in values]
    return _draw(
        picture,
        {
            "data": {"values": rows},
            "width": _WIDTH,
            "height": {"step": _BAR_STEP},
            "padding": {
                "left": _PADDING + _WIDER,
                "top": _PADDING,
                "right": _PADDING,
                "bottom": _PADDING,
            },
            "mark": "bar",
            "encoding": {
                "y": {"field": "name", "type": "nominal", "sort": None, "title": None},
                "x": axis.encoded(float(row["value"]) for row in rows),
            },
        },
        wording,
    )


def stacked(
    picture: Picture, axis: Axis, values: Iterable[tuple[str, str, float]], wording: Wording
) -> Markup:
    """A column for each name, made up of its parts: name, part, value."""
    rows: list[dict[str, str | float]] = [
        {"name": name, "part": part, "value": value} for name, part, value in values
    ]
    return _draw(
        picture,
        {
            "data": {"values": rows},
            "width": _WIDTH,
            "height": _HEIGHT,
            "mark": "bar",
            "encoding": {
                "x": {
                    "field": "name",
                    "type": "nominal",
                    "sort": None,
                    "title": None,
                    "axis": {
                        "labelAngle": 0 if len({row["name"] for row in rows}) <= _FEW else -90
                    },
                },
                "y": axis.encoded(float(row["value"]) for row in rows),
                "color": {"field": "part", "type": "nominal", "sort": None},
            },
        },
        wording,
    )


def lines(picture: Picture, axis: Axis, points: Sequence[Point], wording: Wording) -> Markup:
    """A line for each series over time, by the business's clock; a single moment is a dot.

    Args:
        picture: What it shows.
        axis: Of the values.
        points: At least one.
        wording: The business's clock and numbers.
    """
    rows: list[dict[str, str | float]] = [
        {
            # Its wall clock, told as if it were UTC: the converter knows no other zone.
            "at": point.at.astimezone(wording.time_zone).replace(tzinfo=None).isoformat() + "Z",
            "series": point.series,
            "value": point.value,
        }
        for point in points
    ]
    several = len({point.series for point in points}) > 1
    moments = {point.at for point in points}
    encoding: dict[str, object] = {
        "x": {
            "field": "at",
            "type": "temporal",
            "title": None,
            "scale": {"type": "utc"},
            "axis": {
                "format": _clock(max(moments) - min(moments)),
                "tickCount": 4,
                "labelFlush": True,
            },
        },
        "y": axis.encoded(float(row["value"]) for row in rows),
    }
    if several:
        # Apart without colours, too.
        for channel in ("color", "strokeDash"):
            encoding[channel] = {"field": "series", "type": "nominal", "sort": None}
    return _draw(
        picture,
        {
            "data": {"values": rows},
            "width": _WIDTH,
            "height": _HEIGHT,
            "mark": "point" if len(moments) == 1 else "line",
            "encoding": encoding,
        },
        wording,
    )


def _clock(span: timedelta) -> str:
    """How moments are told that lie so far apart."""
    return "%d %b" if span > _A_DAY else "%H:%M" if span >= _MINUTES else "%H:%M:%S"


def _draw(picture: Picture, spec: Mapping[str, object], wording: Wording) -> Markup:
    drawn = vl_convert.vegalite_to_svg(
        {**spec, "config": _CONFIG},
        vl_version=_VEGA_LITE,
        allowed_base_urls=[],
        format_locale=dict(wording.numbers_of_charts()),
    )
    return _as_one_image(drawn, picture)


def _as_one_image(drawn: str, picture: Picture) -> Markup:
    """Named and described for a screen reader, and as wide as there is room for."""
    ET.register_namespace("", _SVG)
    svg = ET.fromstring(drawn)  # noqa: S314 - of our own converter, not of a stranger
    number = next(_numbers)
    names = {"title": f"chart-{number}", "desc": f"chart-{number}-shows"}
    for position, (tag, text) in enumerate(
        (("title", picture.name), ("desc", picture.description))
    ):
        element = ET.Element(f"{{{_SVG}}}{tag}", {"id": names[tag]})
        element.text = text
        svg.insert(position, element)
    svg.set("role", "img")
    svg.set("aria-labelledby", names["title"])
    svg.set("aria-describedby", names["desc"])
    # Labels that don't fit are there all the same, and invisible.
    for parent in svg.iter():
        for child in [found for found in parent if found.get("opacity") == "0"]:
            parent.remove(child)
    for element in svg.iter():
        if element is not svg:
            for attribute in ("role", "aria-roledescription", "aria-label", "aria-hidden"):
                element.attrib.pop(attribute, None)
    return Markup(ET.tostring(svg, encoding="unicode"))  # noqa: S704 - escaped by both
