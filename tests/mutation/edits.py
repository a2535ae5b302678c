"""What can be changed in a piece of SQL so that a test should notice; each change on its own."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pymilk.project.statements import Statement, Token, split, tokens

_OPERATORS = frozenset("+-*/<>=~!@#%^&|?:")
_FLIPPED = {
    "<": "<=",
    "<=": "<",
    ">": ">=",
    ">=": ">",
    "<>": "=",
    "=": "<>",
    "+": "-",
    "-": "+",
}
_SWAPPED = {"min": "max", "max": "min", "greatest": "least", "least": "greatest"}
# The words that say what an `=` after them does; in a condition it compares.
_CLAUSES = frozenset(
    {"select", "from", "set", "using", "values", "returning", "into", "then", "else", "declare"}
    | {"begin", "perform", "raise", "order", "group", "limit", "loop", "call"}
)
_CONDITIONS = frozenset({"where", "on", "when", "if", "elsif", "having", "while", "and", "or"})


@dataclass(frozen=True)
class Edit:
    """One change of a text.

    Attributes:
        what: What kind of change it is.
        start: Where it begins.
        end: Where what it replaces ends.
        new: What stands there instead.
    """

    what: str
    start: int
    end: int
    new: str

    def of(self, text: str) -> str:
        """The text with it."""
        return text[: self.start] + self.new + text[self.end :]

    def moved(self, by: int) -> "Edit":
        """The same in a text in which what it is about stands further on."""
        return replace(self, start=self.start + by, end=self.end + by)


def edits_of_code(text: str) -> Iterator[Edit]:
    """Changes of what a function does; `text` is its file."""
    pieces = list(_pieces(text))
    clause = ""
    by_word = {
        "for": _unlock,
        "if": _without_refusal,
        "distinct": _distinct,
        "not": _not,
        **dict.fromkeys(_SWAPPED, _extreme),
    }
    for at, token in enumerate(pieces):
        word = token.text.lower()
        if token.kind == "word" and word in _CLAUSES | _CONDITIONS:
            clause = word
        if token.kind == "operator":
            yield from _flip(token, clause)
        elif word in by_word:
            yield from by_word[word](pieces, at)
        elif word == "coalesce":
            yield from _without_default(text, pieces, at)
        elif word == "(":
            yield from _swap_arguments(text, pieces, at)


def edits_of_privileges(text: str) -> Iterator[Edit]:
    """Grants and revokes left out, one by one."""
    yield from _left_out(text, {("grant",), ("revoke",)}, "privilege")


def edits_of_tables(text: str) -> Iterator[Edit]:
    """Triggers, policies, constraints and their conditions left out; `text` is no function."""
    kinds = {("create", "trigger"), ("create", "policy"), ("create", "constraint", "trigger")}
    yield from _left_out(text, kinds, "statement")
    for start, statement in _statements(text):
        if "trigger" in statement.words[:3]:
            yield from (edit.moved(start) for edit in _conditions(statement.text))
        elif statement.words[:2] in {("create", "table"), ("alter", "table")}:
            yield from (edit.moved(start) for edit in _constraints(statement.text))
        elif statement.words[:3] == ("create", "unique", "index"):
            at = statement.text.lower().index("unique")
            yield Edit("unique", start + at, start + at + len("unique"), "")


def _statements(text: str) -> Iterator[tuple[int, Statement]]:
    at = 0
    for statement in split(text):
        at = text.index(statement.text, at)
        yield at, statement
        at += len(statement.text)


def _left_out(text: str, kinds: set[tuple[str, ...]], what: str) -> Iterator[Edit]:
    for start, statement in _statements(text):
        if any(statement.words[: len(kind)] == kind for kind in kinds):
            end = text.index(";", start + len(statement.text)) + 1
            yield Edit(what, start, end, "")


def _pieces(text: str, offset: int = 0) -> Iterator[Token]:
    """The tokens, those of a dollar-quoted body among them; operators whole."""
    run: Token | None = None
    for found in tokens(text):
        token = replace(found, start=found.start + offset)
        if run and found.kind == "other" and token.text in _OPERATORS and run.end == token.start:
            run = Token("operator", run.start, run.text + token.text)
            continue
        if run:
            yield run
            run = None
        if token.is_comment:
            continue
        if found.kind == "other" and token.text in _OPERATORS:
            run = Token("operator", token.start, token.text)
        elif found.text.startswith("$") and found.text.endswith("$"):
            mark = found.text.index("$", 1) + 1
            yield from _pieces(found.text[mark:-mark], token.start + mark)
        else:
            yield token
    if run:
        yield run


def _text(pieces: list[Token], at: int) -> str:
    return pieces[at].text.lower() if 0 <= at < len(pieces) else ""


def _changed(what: str, token: Token, new: str) -> Edit:
    return Edit(what, token.start, token.end, new)


def _flip(token: Token, clause: str) -> Iterator[Edit]:
    if token.text not in _FLIPPED or (token.text == "=" and clause not in _CONDITIONS):
        return
    what = "sign" if token.text in {"+", "-"} else "comparison"
    yield _changed(what, token, _FLIPPED[token.text])


def _unlock(pieces: list[Token], at: int) -> Iterator[Edit]:
    for words in (("for", "no", "key", "update"), ("for", "update")):
        if tuple(_text(pieces, at + each) for each in range(len(words))) == words:
            last = at + len(words) - 1
            if _text(pieces, last + 1) == "of":
                last += 2
            yield Edit("lock", pieces[at].start, pieces[last].end, "")


def _without_refusal(pieces: list[Token], at: int) -> Iterator[Edit]:
    """`if … then raise …; end if;` left out."""
    if _text(pieces, at - 1) == "end":
        return
    then = next((each for each in range(at, len(pieces)) if _text(pieces, each) == "then"), None)
    if then is None or _text(pieces, then + 1) != "raise":
        return
    end = next(each for each in range(then, len(pieces)) if _text(pieces, each) == ";")
    if [_text(pieces, end + each) for each in (1, 2, 3)] == ["end", "if", ";"]:
        yield Edit("refusal", pieces[at].start, pieces[end + 3].end, "")


def _not(pieces: list[Token], at: int) -> Iterator[Edit]:
    if _text(pieces, at - 1) in {"if", "and", "or"}:
        yield _changed("negation", pieces[at], "")


def _extreme(pieces: list[Token], at: int) -> Iterator[Edit]:
    if _text(pieces, at + 1) == "(":
        yield _changed("extreme", pieces[at], _SWAPPED[_text(pieces, at)])


def _distinct(pieces: list[Token], at: int) -> Iterator[Edit]:
    if _text(pieces, at + 1) != "from":
        return
    if _text(pieces, at - 1) == "is":
        yield _changed("comparison", pieces[at], "not distinct")
    elif _text(pieces, at - 1) == "not":
        yield Edit("comparison", pieces[at - 1].start, pieces[at].end, "distinct")


def _arguments(pieces: list[Token], opening: int) -> tuple[list[tuple[int, int]], int]:
    """From where to where each argument goes, as offsets in the text; and the closing one."""
    depth, start, found = 0, opening + 1, list[tuple[int, int]]()
    for at in range(opening, len(pieces)):
        text = pieces[at].text
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(text, 0)
        if depth == 0 or (depth == 1 and text == ","):
            if at > start:
                found.append((pieces[start].start, pieces[at - 1].end))
            start = at + 1
        if depth == 0:
            return found, at
    return [], opening


def _without_default(text: str, pieces: list[Token], at: int) -> Iterator[Edit]:
    """The default of a coalesce left out: what stands in its place is null."""
    if _text(pieces, at + 1) != "(":
        return
    arguments, closing = _arguments(pieces, at + 1)
    if len(arguments) > 1:
        first, last = arguments[0][0], arguments[-2][1]
        keep = text[first:last]
        word = "coalesce" if len(arguments) > 2 else ""
        yield Edit("default", pieces[at].start, pieces[closing].end, f"{word}({keep})")


def _swap_arguments(text: str, pieces: list[Token], at: int) -> Iterator[Edit]:
    """The first two arguments of one of our own functions, where both are just names."""
    if _text(pieces, at - 2) != "." or _text(pieces, at - 3) not in {"private", "public"}:
        return
    if _text(pieces, at - 4) in {"function", "on", "into", "table"}:
        return
    arguments, _ = _arguments(pieces, at)
    given = [text[start:end] for start, end in arguments[:2]]
    if len(given) > 1 and given[0] != given[1] and all(_is_name(each) for each in given):
        start, end = arguments[0][0], arguments[1][1]
        yield Edit("arguments", start, end, f"{given[1]}, {given[0]}")


def _is_name(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _conditions(text: str) -> Iterator[Edit]:
    """The parts of a trigger's WHEN clause, each left out on its own."""
    pieces = list(_pieces(text))
    when = next((at for at in range(len(pieces)) if _text(pieces, at) == "when"), None)
    if when is None or _text(pieces, when + 1) != "(":
        return
    depth, start, parts, joins = 0, when + 2, list[tuple[int, int]](), list[Token]()
    for at in range(when + 1, len(pieces)):
        depth += {"(": 1, ")": -1}.get(pieces[at].text, 0)
        if depth == 0 or (depth == 1 and _text(pieces, at) in {"and", "or"}):
            parts.append((pieces[start].start, pieces[at - 1].end))
            joins.append(pieces[at])
            start = at + 1
        if depth == 0:
            break
    for number, (start, end) in enumerate(parts if len(parts) > 1 else []):
        if number:
            yield Edit("condition", joins[number - 1].start, end, "")
        else:
            yield Edit("condition", start, joins[0].end, "")
    clause = "when"
    for token in pieces[when:]:
        if token.kind == "operator":
            yield from _flip(token, clause)


def _constraints(text: str) -> Iterator[Edit]:
    """Checks, unique keys, `not null` and row security left out."""
    pieces = list(_pieces(text))
    for at, token in enumerate(pieces):
        word = token.text.lower()
        if word in {"check", "unique"} and _text(pieces, at + 1) == "(":
            _, closing = _arguments(pieces, at + 1)
            # Between commas it stands alone, and its comma goes with it.
            first = at - 1 if _text(pieces, at - 1) == "," else at
            yield Edit(word, pieces[first].start, pieces[closing].end, "")
        elif word == "not" and _text(pieces, at + 1) == "null" and _text(pieces, at - 1) != "is":
            yield Edit("not null", token.start, pieces[at + 1].end, "")
        elif word == "enable" and _text(pieces, at + 1) == "row":
            yield Edit("row security", token.start, token.end, "disable")
