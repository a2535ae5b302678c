"""What a function's comment declares that the catalog can't say.

After its first paragraph a comment may have a line for each argument and column that needs one:

    p_allocations [{"invoice_id": uuid, "amount": numeric}]: which invoice gets how much
    p_validate_amounts: false cuts each line to what payment and invoice can take
    allocation_status payments.allocation_status
    never null: all but recorded_at

that is its name (`returns` for a value without one), what it is, and a colon with a sentence;
one of the two may be left out. What it is: a type; `"a" | "b"`, texts; `null` among them; `[…]`, a
list of that; `{"key": …, "other"?: …}`, an object whose other key may be missing; `{*: …}`, an
object with any keys; `table.column`, whatever that column holds, its list of texts included. A
line goes on in the next one, which begins with a blank.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""\s*(?:
      "((?:[^"\\]|\\.)*)"
    | ([A-Za-z_][\w.]*(?:\ (?:precision|varying|with(?:out)?\ time\ zone))?)
    | ([\[\]{}|,?:*])
    )""",
    re.VERBOSE,
)
_NEVER_NULL = "never null:"


@dataclass(frozen=True)
class Named:
    """A type or a table's column, by its name.

    Attributes:
        name: As written, such as `uuid` or `payments.allocation_status`.
        is_list: Whether `[]` follows it.
    """

    name: str
    is_list: bool = False


@dataclass(frozen=True)
class Texts:
    """One of these texts."""

    known: tuple[str, ...]


@dataclass(frozen=True)
class Listed:
    """A list."""

    item: "Shape"


@dataclass(frozen=True)
class Keyed:
    """An object with any keys."""

    item: "Shape"


@dataclass(frozen=True)
class Key:
    """A key of an object.

    Attributes:
        name: The key.
        shape: What it holds.
        may_be_missing: Whether an object may do without.
    """

    name: str
    shape: "Shape"
    may_be_missing: bool


@dataclass(frozen=True)
class Object:
    """An object with these keys."""

    keys: tuple[Key, ...]


@dataclass(frozen=True)
class OrNull:
    """That, or null."""

    shape: "Shape"


Shape = Named | Texts | Listed | Keyed | Object | OrNull


@dataclass(frozen=True)
class Line:
    """What a comment says of one argument or column.

    Attributes:
        shape: What it is; None where only the catalog says it.
        sentence: What it is for; may be empty.
    """

    shape: Shape | None
    sentence: str


@dataclass(frozen=True)
class Declared:
    """A comment.

    Attributes:
        text: What it says of the function: all that isn't one of the lines below.
        lines: By the argument's or column's name.
        never_null: The columns that are never null.
    """

    text: str = ""
    lines: Mapping[str, Line] = field(default_factory=dict)
    never_null: frozenset[str] = frozenset()


def read_comment(comment: str, names: frozenset[str], columns: frozenset[str]) -> Declared:
    """Read a comment.

    Args:
        comment: The comment.
        names: What it may declare: arguments, columns, and what has a meaning of its own.
        columns: What it may say to be never null.

    Raises:
        ValueError: A line begins like a declaration and goes on as none.
    """
    first, *others = comment.strip().split("\n\n")
    text, lines, never_null = [first], {}, frozenset[str]()
    for paragraph in others:
        prose = []
        for line in re.sub(r"\n[ \t]+", " ", paragraph).splitlines():
            name, _, rest = line.strip().partition(" ")
            bare = name.removesuffix(":")
            if line.strip().lower().startswith(_NEVER_NULL):
                never_null |= _never_null(line.strip()[len(_NEVER_NULL) :], columns)
            elif bare in names and (name.endswith(":") or _opens(rest)):
                lines[bare] = _line(rest, declares=not name.endswith(":"))
            else:
                prose.append(line)
        text.append("\n".join(prose))
    return Declared("\n\n".join(filter(None, text)), lines, never_null)


def _never_null(said: str, columns: frozenset[str]) -> frozenset[str]:
    words = re.findall(r"[^\s,.]+", said)
    everything = words[:1] == ["all"]
    named = frozenset(words[2:] if everything else words)  # never null: all but this, that
    if unknown := named - columns:
        raise ValueError(f"never null: there is no column {min(unknown)}")
    return columns - named if everything else named


def _opens(rest: str) -> bool:
    """Whether a line goes on as a declaration: with a shape up to its end or its colon."""
    if rest[:1] in {"[", "{", '"'}:
        return True
    return bool(re.match(r"[a-z_][\w.]*(?:\[\])?(?: \| null)?(?::|$)", rest))


def _line(rest: str, *, declares: bool) -> Line:
    if not declares:
        return Line(None, rest.strip())
    reader = _Reader(rest)
    shape = reader.shape()
    return Line(shape, reader.sentence())


class _Reader:
    """Reads one declaration, from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def sentence(self) -> str:
        """What follows the shape."""
        rest = self._text[self._at :].strip()
        if rest and not rest.startswith(":"):
            raise ValueError(f"a colon is missing before '{rest}'")
        return rest[1:].strip()

    def shape(self) -> Shape:
        """A shape, and what it may be instead."""
        found = [self._one()]
        while self._takes("|"):
            found.append(self._one())
        some = [each for each in found if each != Named("null")]
        if not some or (len(some) > 1 and not all(isinstance(each, Texts) for each in some)):
            raise ValueError("only texts and null can be alternatives")
        texts = tuple(text for each in some if isinstance(each, Texts) for text in each.known)
        whole = Texts(texts) if len(some) > 1 else some[0]
        return OrNull(whole) if len(some) < len(found) else whole

    def _one(self) -> Shape:
        if self._takes("["):
            item = self.shape()
            self._expect("]")
            return Listed(item)
        if self._takes("{"):
            return self._object()
        text, word, mark = self._next()
        if text is not None:
            return Texts((text,))
        if word is None:
            raise ValueError(f"'{mark}' is no type")
        if self._takes("["):
            self._expect("]")
            return Named(word, is_list=True)
        return Named(word)

    def _object(self) -> Shape:
        if self._takes("*"):
            self._expect(":")
            item = self.shape()
            self._expect("}")
            return Keyed(item)
        keys = []
        while True:
            name, _, _ = self._next()
            if name is None:
                raise ValueError("a key stands in double quotes")
            may_be_missing = self._takes("?")
            self._expect(":")
            keys.append(Key(name, self.shape(), may_be_missing))
            if not self._takes(","):
                break
        self._expect("}")
        return Object(tuple(keys))

    def _next(self) -> tuple[str | None, str | None, str | None]:
        match = _TOKEN.match(self._text, self._at)
        if match is None:
            raise ValueError(f"'{self._text[self._at :].strip()}' is no type")
        self._at = match.end()
        return match[1], match[2], match[3]

    def _takes(self, mark: str) -> bool:
        match = _TOKEN.match(self._text, self._at)
        if match is None or match[3] != mark:
            return False
        self._at = match.end()
        return True

    def _expect(self, mark: str) -> None:
        if not self._takes(mark):
            raise ValueError(f"'{mark}' is missing before '{self._text[self._at :].strip()}'")
