"""What a query of the project says of itself, in the comment that it begins with.

    -- What customers owe, by how long it has been due.
    -- An invoice without a due date is not due.
    -- money: outstanding
    -- name: billing_name
    -- chart: bars of outstanding by age
    -- do: call those who are at the end of the list.

The first sentence is its title, the others explain it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_FIRST_SENTENCE = re.compile(r"(.+?[.!?])(?:\s+(.*))?", re.DOTALL)
_DIRECTIVE = re.compile(r"(do|money|name|chart):\s+(\S.*)")


@dataclass(frozen=True)
class Header:
    """The comment at the beginning of a query.

    Attributes:
        title: Its first sentence.
        more: What else it says.
        directives: `do`, `money`, `name` or `chart` → what stands behind its colon.
    """

    title: str
    more: str
    directives: Mapping[str, str]

    @property
    def money(self) -> tuple[str, ...]:
        """The columns that are sums of money."""
        named = self.directives.get("money", "").split(",")
        return tuple(name.strip() for name in named if name.strip())

    @property
    def name(self) -> str:
        """The column that says what people call the row's key; empty where none does."""
        return self.directives.get("name", "")

    @property
    def chart(self) -> str:
        """What to draw of its rows; empty where nothing is."""
        return self.directives.get("chart", "")


def read_header(text: str) -> Header:
    """Read the header of a query."""
    said: list[str] = []
    directives: dict[str, str] = {}
    latest = None
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        words = line.removeprefix("--").strip()
        found = _DIRECTIVE.fullmatch(words)
        if found:
            latest, directives[found[1]] = found[1], found[2]
        elif latest is not None:
            directives[latest] += f" {words}"
        else:
            said.append(words)
    whole = " ".join(filter(None, said))
    sentence = _FIRST_SENTENCE.fullmatch(whole)
    title, more = (sentence[1], sentence[2] or "") if sentence else (whole, "")
    return Header(title, more, directives)


def first_paragraph(text: str) -> str:
    """The first paragraph of the comment that a file begins with: why it is there."""
    said: list[str] = []
    for line in text.splitlines():
        words = line.removeprefix("--").strip()
        if not line.startswith("--") or (said and not words):
            break
        said.append(words)
    return " ".join(filter(None, said))
