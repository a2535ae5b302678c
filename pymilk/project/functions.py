"""What a `create function` says of itself: name, arguments, result; read from its text alone.

Enough of the grammar to tell whether `create or replace` can take a function from one text to
another: Postgres keeps a function's result and the names of its arguments, and never takes a
default away. What only the server can know (which type a name means) stays as it is written.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pymilk.project.statements import Statement, Token, tokens

_MODES = frozenset({"in", "out", "inout", "variadic"})
# What may follow the result; the first of them ends it.
_CLAUSES = frozenset(
    re.findall(
        r"\w+",
        "as atomic begin called cost external immutable language leakproof not parallel return"
        " returns rows security set stable strict support transform volatile window",
    )
)
# First words of types that have two, so that the first is not taken for an argument's name.
_TWO_WORDS = {
    ("double", "precision"),
    *((first, "varying") for first in ("bit", "character", "char")),
    *((first, second) for first in ("timestamp", "time") for second in ("with", "without")),
    *(("national", second) for second in ("character", "char")),
    *(("interval", second) for second in ("year", "month", "day", "hour", "minute", "second")),
}
_ALIASES = {
    "int": "integer",
    "int4": "integer",
    "int2": "smallint",
    "int8": "bigint",
    "bool": "boolean",
    "decimal": "numeric",
    "float4": "real",
    "float8": "double precision",
    "varchar": "character varying",
    "char": "character",
    "timestamptz": "timestamp with time zone",
    "timestamp without time zone": "timestamp",
    "timetz": "time with time zone",
}


@dataclass(frozen=True)
class Argument:
    """One argument, or one column of `returns table`.

    Attributes:
        mode: `in`, `out`, `inout`, `variadic` or `table`.
        name: Its name; empty when it has none.
        type: Its type, by one spelling of it, without length or precision.
        has_default: Whether a call may leave it out.
    """

    mode: str
    name: str
    type: str
    has_default: bool

    @property
    def goes_in(self) -> bool:
        """Whether a call gives it; these tell functions of one name apart."""
        return self.mode in {"in", "inout", "variadic"}


@dataclass(frozen=True)
class Declaration:
    """A function as its first lines declare it.

    Attributes:
        name: With its schema, if that is written.
        arguments: All of them, results among them.
        returns: The words after `returns`; empty when there are none, or a table's columns.
        bound_early: Whether Postgres looks up what the body mentions when it is created.
        depends: Whether Postgres remembers what the body mentions, and won't let that be dropped.
    """

    name: str
    arguments: tuple[Argument, ...]
    returns: str
    bound_early: bool
    depends: bool

    @property
    def types(self) -> tuple[str, ...]:
        """The types that a call gives."""
        return tuple(argument.type for argument in self.arguments if argument.goes_in)

    @property
    def signature(self) -> str:
        """What `drop function` calls it."""
        return f"{self.name}({', '.join(self.types)})"

    @property
    def result(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """What it gives: the words after `returns`, and what comes out by name."""
        given_back = (each for each in self.arguments if each.mode not in {"in", "variadic"})
        return self.returns, tuple((each.name, each.type) for each in given_back)

    def replaces(self, before: "Declaration") -> bool:
        """Whether `create or replace` can put it in the place of `before`, of the same types."""
        given = [argument for argument in self.arguments if argument.goes_in]
        given_before = [argument for argument in before.arguments if argument.goes_in]
        return (
            self.result == before.result
            and all(
                then.name in {"", now.name} and (now.has_default or not then.has_default)
                for now, then in zip(given, given_before, strict=True)
            )
            and [argument.mode for argument in given]
            == [argument.mode for argument in given_before]
        )


def makes_function(statement: Statement) -> bool:
    """Whether it is `create [or replace] function`."""
    words = statement.words
    return words[:2] == ("create", "function") or words[:4] == (
        "create",
        "or",
        "replace",
        "function",
    )


def read_declaration(create: str) -> Declaration:
    """Read the text of a `create [or replace] function`."""
    pieces = [token for token in tokens(create) if not token.is_comment]
    start = next(at for at, token in enumerate(pieces) if token.text.lower() == "function") + 1
    name, rest = _name(pieces[start:])
    inside, rest = _parentheses(rest)
    arguments = [_argument(part) for part in _parts(inside)]
    returns = ""
    if rest and rest[0].text.lower() == "returns":
        rest = rest[1:]
        if rest and rest[0].text.lower() == "table":
            columns, rest = _parentheses(rest[1:])
            arguments += [_argument(part, mode="table") for part in _parts(columns)]
        else:
            end = next((at for at, token in enumerate(rest) if _is_clause(token)), len(rest))
            returns, rest = _type(rest[:end]), rest[end:]
    words = [token.text.lower() for token in rest if token.kind == "word"]
    # A body without quotes is parsed when it is created, and what it mentions is remembered.
    depends = not any(
        one == "as" and other.kind in {"string", "escape_string", "dollar"}
        for one, other in zip(
            [token.text.lower() for token in rest], [*rest[1:], Token("", 0, "")], strict=True
        )
    )
    in_sql = "language" in words and words[words.index("language") + 1 :][:1] == ["sql"]
    return Declaration(name, tuple(arguments), returns, in_sql or depends, depends)


def read_dropped(drop: str) -> tuple[tuple[str, tuple[str, ...] | None], ...]:
    """The functions that a `drop function` names, each with its types if they are written."""
    pieces = [token for token in tokens(drop) if not token.is_comment][2:]
    if [token.text.lower() for token in pieces[:2]] == ["if", "exists"]:
        pieces = pieces[2:]
    return tuple(_named(part) for part in _parts(pieces))


def read_commented(comment: str) -> tuple[str, tuple[str, ...] | None]:
    """The function that a `comment on function` is about, with its types if they are written."""
    pieces = [token for token in tokens(comment) if not token.is_comment][3:]
    end = next((at for at, token in enumerate(pieces) if token.text.lower() == "is"), len(pieces))
    return _named(pieces[:end])


def _named(pieces: list[Token]) -> tuple[str, tuple[str, ...] | None]:
    name, rest = _name(pieces)
    if not rest or rest[0].text != "(":
        return name, None
    inside, _ = _parentheses(rest)
    arguments = [_argument(part) for part in _parts(inside)]
    return name, tuple(argument.type for argument in arguments if argument.goes_in)


def _name(pieces: list[Token]) -> tuple[str, list[Token]]:
    end = 0
    while end < len(pieces) and (
        pieces[end].text == "." if end % 2 else pieces[end].kind in {"word", "identifier"}
    ):
        end += 1
    return "".join(_folded(token) for token in pieces[:end]), pieces[end:]


def _folded(token: Token) -> str:
    """A name as Postgres reads it: lower-case; in quotes only where it needs them."""
    if token.kind != "identifier":
        return token.text.lower()
    plain = token.text[1:-1]
    return plain if re.fullmatch(r"[a-z_][a-z0-9_$]*", plain) else token.text


def _parentheses(pieces: list[Token]) -> tuple[list[Token], list[Token]]:
    """What stands in the parentheses that `pieces` begins with, and what follows."""
    depth = 0
    for at, token in enumerate(pieces):
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth == 0:
            return pieces[1:at], pieces[at + 1 :]
    return pieces[1:], []


def _parts(pieces: list[Token]) -> Iterator[list[Token]]:
    """The pieces between the commas."""
    part: list[Token] = []
    depth = 0
    for token in pieces:
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(token.text, 0)
        if token.text == "," and depth == 0:
            yield part
            part = []
        else:
            part.append(token)
    if part:
        yield part


def _argument(pieces: list[Token], mode: str = "in") -> Argument:
    end = next(
        (at for at, token in enumerate(pieces) if token.text.lower() in {"default", "=", ":"}),
        len(pieces),
    )
    said, has_default = pieces[:end], end < len(pieces)
    if len(said) > 1 and said[0].text.lower() in _MODES:
        mode, said = said[0].text.lower(), said[1:]
        if mode == "in" and said[0].text.lower() == "out":
            mode, said = "inout", said[1:]
    name = ""
    if _begins_with_name(said):
        name, said = _folded(said[0]), said[1:]
        if len(said) > 1 and said[0].text.lower() in _MODES:
            mode, said = said[0].text.lower(), said[1:]
    return Argument(mode, name, _type(said), has_default)


def _begins_with_name(pieces: list[Token]) -> bool:
    if len(pieces) < 2 or pieces[1].kind not in {"word", "identifier"}:  # noqa: PLR2004 - two words
        return False
    return (pieces[0].text.lower(), pieces[1].text.lower()) not in _TWO_WORDS


def _type(pieces: list[Token]) -> str:
    """One spelling of a type: lower-case, no aliases, without length or precision."""
    words: list[str] = []
    depth = 0
    for token in pieces:
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth == 0 and token.text != ")":
            words.append(_folded(token))
    text = re.sub(r" ?([.\[\]%]) ?", r"\1", " ".join(words)).removeprefix("pg_catalog.")
    text = text.replace("setof pg_catalog.", "setof ")
    setof, base = ("setof ", text[6:]) if text.startswith("setof ") else ("", text)
    base, bracket, array = base.partition("[")
    return f"{setof}{_ALIASES.get(base, base)}{bracket}{array}"


def _is_clause(token: Token) -> bool:
    return token.kind == "word" and token.text.lower() in _CLAUSES
