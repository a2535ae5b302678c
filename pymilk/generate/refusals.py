"""What functions refuse, and whether they take an idempotency key: told by their bodies.

A refusal is `raise exception using errcode = 'PT409', message = 'a_reason', …`: PostgREST makes the
HTTP status of it, and a class is made of the reason. What a function calls refuses for it.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pymilk.generate.catalog import Body
from pymilk.project.statements import Token, split, tokens

_STATUS = re.compile(r"PT(\d{3})")
_REASON = re.compile(r"[a-z][a-z0-9_]*")
_KEY = re.compile(r"pymilk\.idempotency_key|idempotency-key", re.IGNORECASE)
_OPTIONS = frozenset({"errcode", "message", "hint"})

Named = tuple[str, str]
"""A function: its schema and its name."""


@dataclass(frozen=True)
class Refusal:
    """A reason.

    Attributes:
        reason: Its stable name.
        statuses: The HTTP statuses that it comes with, in order.
        hints: What the bodies advise, in the order of the functions that raise it.
    """

    reason: str
    statuses: tuple[int, ...]
    hints: tuple[str, ...]


@dataclass(frozen=True)
class Behaviour:
    """What the bodies tell.

    Attributes:
        refusals: Every reason that is raised anywhere, by its name.
        reasons: By function: the reasons that it or what it calls raises.
        keyed: The functions that ask for the call's idempotency key, or call what does.
    """

    refusals: Mapping[str, Refusal]
    reasons: Mapping[Named, frozenset[str]]
    keyed: frozenset[Named]


@dataclass
class _Said:
    """What one function's bodies say, its overloads' together."""

    raises: list[tuple[str, int, str]] = field(default_factory=list)
    calls: set[Named] = field(default_factory=set)
    asks_for_key: bool = False


def read_behaviour(bodies: Sequence[Body]) -> Behaviour:
    """Read every body, and follow the calls."""
    said: dict[Named, _Said] = defaultdict(_Said)
    names = {(body.schema, body.name) for body in bodies}
    for body in bodies:
        entry = said[body.schema, body.name]
        entry.raises += _raised(body.text)
        entry.calls |= set(_called(body)) & names
        entry.asks_for_key |= any(
            token.kind == "string" and _KEY.search(token.text) for token in tokens(body.text)
        )
    reached = {name: _reached(name, said) for name in said}
    return Behaviour(
        _refusals(each for name in sorted(said) for each in said[name].raises),
        {
            name: frozenset(reason for each in found for reason, _, _ in said[each].raises)
            for name, found in reached.items()
        },
        frozenset(
            name
            for name, found in reached.items()
            if any(said[each].asks_for_key for each in found)
        ),
    )


def _refusals(raised: Iterable[tuple[str, int, str]]) -> Mapping[str, Refusal]:
    statuses: dict[str, set[int]] = defaultdict(set)
    hints: dict[str, dict[str, None]] = defaultdict(dict)
    for reason, status, hint in raised:
        statuses[reason].add(status)
        hints[reason].update({hint: None} if hint else {})
    return {
        reason: Refusal(reason, tuple(sorted(statuses[reason])), tuple(hints[reason]))
        for reason in sorted(statuses)
    }


def _reached(name: Named, said: Mapping[Named, _Said]) -> set[Named]:
    found: set[Named] = set()
    ahead = [name]
    while ahead:
        here = ahead.pop()
        if here not in found:
            found.add(here)
            ahead += said[here].calls
    return found


def _raised(text: str) -> Iterator[tuple[str, int, str]]:
    """Each refusal: its reason, status and hint."""
    for statement in split(text):
        pieces = [token for token in tokens(statement.text) if not token.is_comment]
        for at, token in enumerate(pieces):
            if token.text.lower() == "raise":
                options = _options(pieces[at + 1 :])
                status = _STATUS.fullmatch(options.get("errcode", ""))
                reason = options.get("message", "")
                if status and _REASON.fullmatch(reason):
                    yield reason, int(status[1]), options.get("hint", "")


def _options(pieces: Sequence[Token]) -> Mapping[str, str]:
    """The options of a raise that are plain texts, those before `using` among them."""
    found = {}
    words = [piece.text.lower() for piece in pieces]
    for at, word in enumerate(words[:2]):
        # raise exception 'reason' using …; raise sqlstate 'PT409' using …
        if word == "exception" and at + 1 < len(pieces) and pieces[at + 1].kind == "string":
            found["message"] = _text(pieces[at + 1])
        elif word == "sqlstate" and at + 1 < len(pieces):
            found["errcode"] = _text(pieces[at + 1])
    for at, word in enumerate(words):
        if word in _OPTIONS and words[at + 1 : at + 2] == ["="]:
            value, after = pieces[at + 2 : at + 3], words[at + 3 : at + 4]
            if value and value[0].kind == "string" and after in ([], [","]):
                found[word] = _text(value[0])
    return found


def _called(body: Body) -> Iterator[Named]:
    """What looks like a call, of a function of this name in its schema or in the API's."""
    pieces = [_name(token) for token in tokens(body.text) if not token.is_comment]
    for at, piece in enumerate(pieces[1:], start=1):
        if piece == "(" and pieces[at - 1]:
            if at > 2 and pieces[at - 2] == ".":  # noqa: PLR2004 - schema, dot, name
                yield pieces[at - 3], pieces[at - 1]
            else:
                yield body.schema, pieces[at - 1]
                yield "public", pieces[at - 1]


def _name(token: Token) -> str:
    if token.kind == "word":
        return token.text.lower()
    if token.kind == "identifier":
        return token.text[1:-1].replace('""', '"')
    return token.text


def _text(token: Token) -> str:
    return token.text[1:-1].replace("''", "'") if token.kind == "string" else ""
