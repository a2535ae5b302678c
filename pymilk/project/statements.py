"""Split SQL text into its statements.

The pieces become `statements[]` of Supabase's history table, and the unit in which a failing
migration is reported. The rules are those of the Supabase CLI: a `;` ends a statement unless it
stands in quotes, a dollar quote, a comment, parentheses, or `begin atomic … end`; a comment stays
with the statement after it, and is a statement of its own where none follows; the `;` itself is
dropped.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

# To Postgres every character beyond ASCII is a letter. (A range up to the last of them would be
# compiled character by character.)
_LETTER = r"(?:[A-Za-z_]|[^\x00-\x7f])"
_BEYOND = r"[^\x00-\x7f]+"


@cache
def _token() -> re.Pattern[str]:
    """What a text consists of; compiled by whoever splits one first, for it takes a while."""
    return re.compile(
        rf"""
      (?P<line_comment>--[^\n]*)
    | (?P<block_comment>/\*)
    | (?P<escape_string>\b[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z))
    | (?P<string>'(?:[^']|'')*(?:'|\Z))
    | (?P<identifier>"(?:[^"]|"")*(?:"|\Z))
    | (?P<dollar>\$(?P<tag>{_LETTER}(?:[A-Za-z0-9_]+|{_BEYOND})*)?\$)
    | (?P<word>{_LETTER}(?:[A-Za-z0-9_$]+|{_BEYOND})*)
    | (?P<punctuation>[();])
    | (?P<other>\S)
    """,
        re.VERBOSE | re.DOTALL,
    )


# As many as it takes to reach the last word of `alter table a.b detach partition c.d concurrently`.
_WORDS = 10
_COMMENT_EDGE = re.compile(r"/\*|\*/")


@dataclass(frozen=True)
class Statement:
    """One statement and where it starts.

    Attributes:
        text: The statement with the comments before it, without its `;`.
        line: The line (from 1) of its first word that isn't a comment.
        starts: The line that `text` starts on, with a comment perhaps.
        words: Its first keywords, lower-case, to tell what kind it is.
        only_comment: Whether there is nothing in it to run.
    """

    text: str
    line: int
    starts: int
    words: tuple[str, ...]
    only_comment: bool = False

    @property
    def beginning(self) -> str:
        """Its first words, for people to know it by."""
        return " ".join(self.words[:8])


def split(sql: str) -> tuple[Statement, ...]:
    """Split `sql` into statements; blanks between them yield none."""
    return tuple(_statements(sql))


@dataclass(frozen=True)
class Token:
    """One piece of SQL: a word, a string, a dollar quote with its body, a comment.

    Attributes:
        kind: The name of its group in the grammar above: `word`, `string`, `line_comment`, …
        start: Where in the text it begins.
        text: The piece, whole.
    """

    kind: str
    start: int
    text: str

    @property
    def end(self) -> int:
        """Where in the text it has ended."""
        return self.start + len(self.text)

    @property
    def is_comment(self) -> bool:
        """Whether Postgres skips it."""
        return self.kind in {"line_comment", "block_comment"}


def tokens(sql: str) -> Iterator[Token]:
    """The pieces of `sql`, comments among them; the blanks between are left out."""
    position = 0
    token = _token()
    while match := token.search(sql, position):
        kind, position = match.lastgroup or "other", match.end()
        if kind == "block_comment":
            position = _end_of_block_comment(sql, position)
        elif match.group("dollar"):
            closing = sql.find(match.group("dollar"), position)
            position = len(sql) if closing < 0 else closing + len(match.group("dollar"))
        yield Token(kind, match.start(), sql[match.start() : position])


def _statements(sql: str) -> Iterator[Statement]:
    start = depth = atomic = 0
    first_word: int | None = None
    words: list[str] = []
    for token in tokens(sql):
        if token.is_comment:
            continue
        if token.text == ";" and depth == 0 and atomic == 0:
            yield from _statement(sql, start, token.start, first_word, words)
            start, first_word, words = token.end, None, []
            continue
        first_word = token.start if first_word is None else first_word
        if token.kind == "punctuation":
            depth = max(0, depth + {"(": 1, ")": -1}.get(token.text, 0))
        elif token.kind == "word":
            word = token.text.lower()
            atomic = _atomic_depth(atomic, word, words)
            words.append(word)
    yield from _statement(sql, start, len(sql), first_word, words)


def _statement(
    sql: str, start: int, end: int, first_word: int | None, words: list[str]
) -> Iterator[Statement]:
    text = sql[start:end].strip()
    if not text:
        return
    begin = sql.index(text, start)
    starts = sql.count("\n", 0, begin) + 1
    line = starts + text.count("\n", 0, (first_word or begin) - begin)
    yield Statement(text, line, starts, tuple(words[:_WORDS]), only_comment=first_word is None)


def _atomic_depth(atomic: int, word: str, words: list[str]) -> int:
    """How deep in `begin atomic … end` we are; `case … end` nests inside it."""
    if word == "atomic" and words and words[-1] == "begin":
        return atomic + 1
    if atomic and word == "case":
        return atomic + 1
    if atomic and word == "end":
        return atomic - 1
    return atomic


def _end_of_block_comment(sql: str, position: int) -> int:
    """The end of a block comment that began before `position`; they nest in Postgres."""
    depth = 1
    while edge := _COMMENT_EDGE.search(sql, position):
        depth += 1 if edge.group() == "/*" else -1
        position = edge.end()
        if depth == 0:
            return position
    return len(sql)
