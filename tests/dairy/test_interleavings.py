"""Every two calls that move money or invoices, one inside the other's open transaction.

The second waits for the first or goes on; when the first has ended, by commit or by rollback, both
came out as if one had run after the other: the same answers, the same rows, nothing lost and no
deadlock. docs/interleavings.md says what each pair does and is compared with what it does:
PYMILK_WRITE_DOCS=1 writes it anew.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from threading import Barrier

import pytest

from dairy.books import Books
from dairy.interleaving import CALLS, OPPOSING, REPAIR, Meeting, Pair
from dairy.opening import tables
from support.databases import ROOT, Database

PAGE = ROOT / "docs" / "interleavings.md"
OPPOSING_PAGE = ROOT / "docs" / "opposing_orders.md"
WRITE = "PYMILK_WRITE_DOCS"
ALL = list(product(CALLS, CALLS))
SOME = [pair for number, pair in enumerate(ALL) if pair[0] == pair[1] or number % 20 == 3]
"""Each call against itself, and each against a few others."""

HEAD = """# What calls do to each other

Two sessions on the same customer, payment, invoices and sales. The first calls a function and keeps
its transaction open; the second calls another one and is seen to wait, or goes on to its end. Then
the first commits or rolls back. Every row below came out as if one call had run after the other
("order": which one first; "both" where it makes no difference), and no invariant was broken.

Written and checked by tests/dairy/test_interleavings.py; PYMILK_WRITE_DOCS=1 writes it anew.
"""
OPPOSED = list(product(OPPOSING, OPPOSING))
SOME_OPPOSED = [pair for number, pair in enumerate(OPPOSED) if number % 9 == 1]
"""Each call inside the one that is listed before it."""

OPPOSING_HEAD = """# What calls about several invoices do to each other

As in interleavings.md: the second call comes while the first one's transaction is open. Here each
names several invoices, "up" and "down" in opposite orders, of one or of another payment. None
deadlocks: whatever order a caller names, locks are taken in one.

Written and checked by tests/dairy/test_interleavings.py; PYMILK_WRITE_DOCS=1 writes it anew.
"""
COLUMNS = "| second call | meanwhile | first committed | order | first rolled back |"


@pytest.fixture
def meeting(dairy_hardened: Database) -> Iterator[Meeting]:
    superuser = dairy_hardened.connect(user="supabase_admin", autocommit=True)
    firsts, seconds = (
        {
            role: dairy_hardened.connect(role=role, autocommit=True)
            for role in ("authenticated", "service_role")
        }
        for _ in range(2)
    )
    with ThreadPoolExecutor(2) as pool:
        yield Meeting(
            superuser=superuser,
            watcher=Books(dairy_hardened.connect(autocommit=True)),
            firsts=firsts,
            seconds=seconds,
            pool=pool,
            written=tables(superuser),
        )


def line(meeting: Meeting, pair: Pair) -> str:
    """Let a pair meet in both ways; its line of the page."""
    in_order = meeting.one_after_the_other(pair, (0, 1))
    reversed_ = meeting.one_after_the_other(pair, (1, 0))
    alone = meeting.one_after_the_other(pair, (1,))

    undone = meeting.one_inside_the_other(pair, "rollback")
    assert undone[1:] == alone[1:], f"{pair}: rolled back, but not as if it had never been"
    broken(meeting, pair, ended_by="rollback")

    met = meeting.one_inside_the_other(pair, "commit")
    orders = [
        name
        for name, serial in (("first, second", in_order), ("second, first", reversed_))
        if met[1:] == serial[1:]
    ]
    assert orders, f"{pair}: as in neither order\n{met}\n{in_order}\n{reversed_}"
    broken(meeting, pair, ended_by="commit")

    cells = (
        f"`{pair[1]}`",
        undone.meanwhile if undone.meanwhile == met.meanwhile else "differs",
        f"{met.first}; {met.second}",
        "both" if len(orders) == 2 else orders[0],
        undone.second,
    )
    return f"| {' | '.join(cells)} |"


def broken(meeting: Meeting, pair: Pair, *, ended_by: str) -> None:
    """Nothing is broken, but for the fault that a repair was to find and was not let."""
    found = meeting.watcher.broken()
    expected = REPAIR in pair and ended_by == "rollback"
    assert expected or found == [], f"{pair}, {ended_by}: {found}"


def page(head: str, calls: Iterable[str], lines: dict[Pair, str]) -> str:
    """The whole page."""
    parts = [head]
    for first in calls:
        rows = [row for pair, row in lines.items() if pair[0] == first]
        parts += [
            f"\n## First `{first}`\n\n{COLUMNS}\n|---|---|---|---|---|\n",
            "\n".join(rows),
            "\n",
        ]
    return "".join(parts)


def test_calls_that_meet_come_out_as_in_some_order(meeting: Meeting) -> None:
    said = PAGE.read_text(encoding="utf-8")
    sections = dict(zip(CALLS, said.split("\n## First ")[1:], strict=True))
    for pair in SOME:
        assert line(meeting, pair) in sections[pair[0]].splitlines(), pair


@pytest.mark.long
def test_all_of_them_do_and_the_page_says_how(meeting: Meeting) -> None:
    found = page(HEAD, CALLS, {pair: line(meeting, pair) for pair in ALL})
    if os.environ.get(WRITE):
        PAGE.write_text(found, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == found


def test_calls_in_opposite_orders_come_out_as_in_some_order(meeting: Meeting) -> None:
    said = OPPOSING_PAGE.read_text(encoding="utf-8")
    sections = dict(zip(OPPOSING, said.split("\n## First ")[1:], strict=True))
    for pair in SOME_OPPOSED:
        assert line(meeting, pair) in sections[pair[0]].splitlines(), pair


@pytest.mark.long
def test_all_in_opposite_orders_do_and_the_page_says_how(meeting: Meeting) -> None:
    lines = {pair: line(meeting, pair) for pair in OPPOSED}
    found = page(OPPOSING_HEAD, OPPOSING, lines)
    if os.environ.get(WRITE):
        OPPOSING_PAGE.write_text(found, encoding="utf-8")
    assert OPPOSING_PAGE.read_text(encoding="utf-8") == found


def rounds(meeting: Meeting, pairs: Sequence[Pair], times: int) -> list[str]:
    """Start both calls of each pair at the same moment; what was no serial outcome."""
    wrong = []
    for pair in pairs:
        serial = {meeting.one_after_the_other(pair, order)[1:] for order in ((0, 1), (1, 0))}
        for _ in range(times):
            meeting.prepare(pair)
            together = Barrier(2)

            def start(place: int, pair: Pair = pair, together: Barrier = together) -> str:
                together.wait(20)
                return meeting.call((meeting.firsts, meeting.seconds)[place], pair[place])

            said = tuple(meeting.pool.map(start, (0, 1)))
            if (*said, meeting.books()) not in serial or meeting.watcher.broken():
                wrong.append(f"{pair}: {said}")
    return wrong


@pytest.mark.parametrize(
    ("pairs", "times"),
    [
        (SOME[::3] + SOME_OPPOSED[::3], 1),
        pytest.param(ALL + OPPOSED, 10, marks=pytest.mark.long),
    ],
)
def test_calls_at_the_same_moment_do_too(
    meeting: Meeting, pairs: Sequence[Pair], times: int
) -> None:
    assert rounds(meeting, pairs, times) == []
