"""How the books stand: the project's own queries and its invariants, read in one snapshot.

What is told of the books is the project's, not ours: `sql/books/*.sql`, a query a file. The comment
at its head says what it tells, which columns are money (`-- money: received`), and what to draw
(`-- chart: bars of received by method`, `-- chart: columns of received by month and method`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from markupsafe import Markup

from pymilk.database.connection import Target, connect
from pymilk.deploy.health.invariants import Checked, one_snapshot, read_in_snapshot
from pymilk.deploy.health.readings import Reading, read_query
from pymilk.problem import UsageProblem
from pymilk.project.migrations import Script
from pymilk.project.project import Project
from pymilk.project.query_header import Header, read_header
from pymilk.report import charts
from pymilk.report.wording import Wording, as_number

_BARS = re.compile(r"bars of (\w+) by (\w+)")
_COLUMNS = re.compile(r"columns of (\w+) by (\w+) and (\w+)")
# A page is no export: who needs every row of a long table asks the database.
_MOST_ROWS = 200


@dataclass(frozen=True)
class Cell:
    """One value of a table, as it is shown; numbers stand to the right."""

    text: str
    number: bool


@dataclass(frozen=True)
class Chapter:
    """One query of the books.

    Attributes:
        title: What it tells.
        more: What else its comment says.
        columns: The names of its columns.
        rows: Its rows, as they are shown.
        left_out: How many further rows there are.
        chart: What is drawn of them, where the query asks for it and there is something.
        failure: Why it could not be read; empty where it could.
    """

    title: str
    more: str
    columns: tuple[Cell, ...]
    rows: tuple[tuple[Cell, ...], ...]
    left_out: int
    chart: Markup | None
    failure: str


@dataclass(frozen=True)
class Books:
    """The books of one moment.

    Attributes:
        database: Of which database, without its password.
        at: The moment of the snapshot, by the server's clock.
        chapters: What the project's queries tell.
        checked: The project's invariants.
    """

    database: str
    at: datetime
    chapters: tuple[Chapter, ...]
    checked: Checked


def read_books(target: Target, project: Project, wording: Wording) -> Books:
    """Read the books of a database, changing nothing.

    Raises:
        UsageProblem: The project has nothing to tell of them, or a query asks for an odd chart.
        Problem: The database can't be reached.
    """
    if not project.books and not project.invariants:
        raise UsageProblem(
            "The project says nothing of its books: there is no query in sql/books, and none in"
            " sql/invariants.",
            state="No database was touched.",
            todo="Write one: docs/report.md says how.",
        )
    with connect(target.url, purpose="books") as connection, one_snapshot(connection) as at:
        found = [(query, read_query(connection, query)) for query in project.books]
        checked = read_in_snapshot(connection, project.invariants, at)
    chapters = tuple(_chapter(query, reading, wording) for query, reading in found)
    return Books(target.label, at, chapters, checked)


def _chapter(query: Script, reading: Reading, wording: Wording) -> Chapter:
    header = read_header(query.text)
    rows = tuple(
        tuple(
            _cell(name, value, header, wording)
            for name, value in zip(reading.columns, row, strict=True)
        )
        for row in reading.rows[:_MOST_ROWS]
    )
    columns = tuple(
        Cell(name.replace("_", " "), any(row[place].number for row in rows))
        for place, name in enumerate(reading.columns)
    )
    return Chapter(
        header.title or query.path.stem,
        header.more,
        columns,
        rows,
        max(len(reading.rows) - _MOST_ROWS, 0),
        None if reading.failure else _chart(query, header, reading, wording),
        reading.failure,
    )


def _cell(name: str, value: object, header: Header, wording: Wording) -> Cell:
    if value is None:
        return Cell("", number=False)
    if isinstance(value, bool):
        return Cell("yes" if value else "no", number=False)
    if isinstance(value, int | float | Decimal):
        told = wording.money(str(value)) if name in header.money else wording.number(value)
        return Cell(told, number=True)
    if isinstance(value, datetime) and value.tzinfo is not None:
        return Cell(wording.moment(value), number=False)
    return Cell(value.isoformat() if isinstance(value, date) else str(value), number=False)


def _chart(query: Script, header: Header, reading: Reading, wording: Wording) -> Markup | None:
    if not header.chart:
        return None
    bars, stacked = _BARS.fullmatch(header.chart), _COLUMNS.fullmatch(header.chart)
    found = bars or stacked
    if found is None or not set(found.groups()) <= set(reading.columns):
        raise UsageProblem(
            f"{query.short_path}: 'chart: {header.chart}' can't be drawn.",
            state="Nothing was changed.",
            todo="Write 'bars of VALUE by NAME' or 'columns of VALUE by NAME and PART', each a"
            f" column of the query: {', '.join(reading.columns)}.",
        )
    value, *names = found.groups()
    drawn = tuple(_values(reading, value, names))
    if not any(number for _, number in drawn):
        return None
    axis = charts.Axis(value.replace("_", " "), money=value in header.money)
    picture = charts.Picture(header.title, f"{header.chart}; the table beside it has the numbers.")
    if bars:
        values = ((name[0], number) for name, number in drawn)
        return charts.bars(picture, axis, values, wording)
    parts = ((name[0], name[1], number) for name, number in drawn)
    return charts.stacked(picture, axis, parts, wording)


def _values(
    reading: Reading, value: str, names: list[str]
) -> Iterator[tuple[tuple[str, ...], float]]:
    """Names and value of each row; what is no finite number can't be drawn, and is in the table."""
    for row in reading.rows:
        by_name = dict(zip(reading.columns, row, strict=True))
        number = as_number(str(by_name[value]))
        if number is not None:
            yield tuple(str(by_name[name]) for name in names), float(number)
