"""State before and after, side by side: rows, the project's figures, and whose balance changed."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from pymilk.project.project import Project
from pymilk.project.query_header import Header, read_header
from pymilk.report.deployment import Deployment
from pymilk.report.facts import AfterFacts
from pymilk.report.wording import Wording, as_number

_ABSENT = "-"
# With more keys than this a query is told by what moved, not key by key.
_FEW = 20
_MOST_SHOWN = 50

_State = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Line:
    """One thing before and after, as it is shown.

    Attributes:
        name: What people call it; its key where they don't.
        before: Its figures before.
        after: Its figures after; none where nobody has looked.
        same: Whether they are the same.
        key: Its key, where it has a name besides.
    """

    name: str
    before: str
    after: str | None
    same: bool
    key: str = ""

    @property
    def mark(self) -> str:
        """In a word, what became of it; empty where nothing did."""
        if self.same:
            return ""
        return "new" if self.before == _ABSENT else "gone" if self.after == _ABSENT else "moved"


@dataclass(frozen=True)
class Compared:
    """One query of the project's figures, before and after.

    Attributes:
        title: What it tells, from the query's own comment.
        keys: How many things it tells of: customers, for instance.
        moved: How many of them have other figures; none where nobody has looked.
        lines: Its figures, or their sums where it has many keys.
        movements: What moved, where it has many keys.
        more: How many further ones moved.
    """

    title: str
    keys: int
    moved: int | None
    lines: tuple[Line, ...]
    movements: tuple[Line, ...] = ()
    more: int = 0

    @property
    def by_key(self) -> bool:
        """Whether it has so many keys that it is told by what moved."""
        return self.keys > _FEW

    def in_words(self, wording: Wording) -> str:
        """How many moved."""
        if self.moved is None:
            return f"{wording.number(self.keys)} were noted; nobody has looked at them since."
        return (
            f"{wording.number(self.moved)} of {wording.number(self.keys)} have other figures than"
            " just before."
            if self.moved
            else f"None of {wording.number(self.keys)} has other figures than just before."
        )


@dataclass(frozen=True)
class SideBySide:
    """Everything that is compared.

    Attributes:
        figures: The project's figures.
        tables: Rows of each table; empty where a deploy didn't write it down.
        looked: Whether anybody has looked after the commit.
        money: Whether any of the figures are sums of money.
    """

    figures: tuple[Compared, ...]
    tables: tuple[Line, ...]
    looked: bool
    money: bool

    @property
    def compared(self) -> int:
        """How many things have figures."""
        return sum(each.keys for each in self.figures)

    @property
    def moved(self) -> int:
        """How many of them moved between the two looks."""
        return sum(each.moved or 0 for each in self.figures)


def side_by_side(seen: Deployment, project: Project, wording: Wording) -> SideBySide:
    """Lay what was there just before a deploy beside what was seen just after."""
    headers = {query.path.stem: read_header(query.text) for query in project.state}
    looked = seen.after is not None
    figures = tuple(
        _compare(
            headers.get(query) or Header(query, "", {}),
            before,
            _after(query, before, seen.after_facts) if looked else None,
            seen.names.get(query, {}),
            wording,
        )
        for query, before in seen.facts.state_before.items()
    )
    rows = seen.facts.rows_before
    after = seen.after_facts.rows_after if looked else None
    tables = tuple(
        Line(
            table,
            wording.number(rows[table]) if table in rows else _ABSENT,
            None if after is None else wording.number(after.get(table, _ABSENT)),
            after is None or after.get(table) == rows.get(table),
        )
        for table in sorted({*rows, *(after or ())})
        if rows
    )
    money = any(headers[query].money for query in seen.facts.state_before if query in headers)
    return SideBySide(figures, tables, looked, money)


def _after(query: str, before: _State, facts: AfterFacts) -> _State:
    moved = facts.moved.get(query, {})
    kept = {key: figures for key, figures in before.items() if key not in moved}
    return kept | {key: figures for key, figures in moved.items() if figures is not None}


def _compare(
    header: Header,
    before: _State,
    after: _State | None,
    names: Mapping[str, str],
    wording: Wording,
) -> Compared:
    now = before if after is None else after
    keys = tuple(sorted({*before, *now}))  # the ledger's JSON has an order of its own
    moved = tuple(key for key in keys if before.get(key) != now.get(key))
    if len(keys) <= _FEW:
        lines = tuple(_named(_line(key, header, before, after, wording), names) for key in keys)
        return Compared(header.title, len(keys), None if after is None else len(moved), lines)
    return Compared(
        header.title,
        len(keys),
        None if after is None else len(moved),
        tuple(_sums(header, before, after, wording)),
        tuple(
            _named(_line(key, header, before, after, wording), names) for key in moved[:_MOST_SHOWN]
        ),
        max(len(moved) - _MOST_SHOWN, 0),
    )


def _named(line: Line, names: Mapping[str, str]) -> Line:
    """The same with what people call it, where they do."""
    called = names.get(line.name)
    return replace(line, name=called, key=line.name) if called else line


def _line(key: str, header: Header, before: _State, after: _State | None, wording: Wording) -> Line:
    was = _figures(before.get(key), header, wording)
    if after is None:
        return Line(key, was, None, same=True)
    same = before.get(key) == after.get(key)
    return Line(key, was, _figures(after.get(key), header, wording), same)


def _figures(figures: tuple[str, ...] | None, header: Header, wording: Wording) -> str:
    if figures is None:
        return _ABSENT
    if len(header.money) != len(figures):
        return ", ".join(wording.number(figure) for figure in figures)
    if len(figures) == 1:
        return wording.money(figures[0])
    named = zip(header.money, figures, strict=True)
    return ", ".join(f"{name} {wording.money(figure)}" for name, figure in named)


def _sums(header: Header, before: _State, after: _State | None, wording: Wording) -> Iterator[Line]:
    """All keys together, of the columns that the query says are money."""
    for position, name in enumerate(header.money):
        was = _sum(before.values(), position)
        now = was if after is None else _sum(after.values(), position)
        shown = None if after is None else wording.money(now)
        yield Line(f"{name}, all together", wording.money(was), shown, now == was)


def _sum(rows: Iterable[tuple[str, ...]], position: int) -> Decimal | str:
    """Of one figure of all keys, or why there is none."""
    total = Decimal(0)
    for figures in rows:
        number = as_number(figures[position]) if position < len(figures) else None
        if number is None:
            return "no number"
        total += number
    return total
