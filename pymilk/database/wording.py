"""One wording of an expression, whichever way it came into the database.

Postgres keeps `(a, b, c) is distinct from (…)` as `((a or b) or c)`, writes it so, and reads what
it has written as `a or b or c`. A schema that was restored from a dump would differ for ever from
the one that was dumped.
"""

from dataclasses import dataclass, field

from pymilk.project.statements import Token, tokens

_BREAKS = frozenset(
    {",", "case", "when", "then", "else", "select", "from", "where", "on", "having", "between"}
)


@dataclass
class _Group:
    """What stands between two parentheses.

    Attributes:
        opening: Where it opens.
        words: The `and` and `or` in it, and what else keeps it from being a chain of those.
        parts: The groups right in it, each with what stands before and after it.
    """

    opening: int
    words: set[str] = field(default_factory=set)
    parts: list["_Part"] = field(default_factory=list)


@dataclass
class _Part:
    group: _Group
    closing: int
    before: str
    after: str = ""


def one_wording(definition: str) -> str:
    """The definition, its chains of `and` and of `or` without parentheses inside the chain."""
    whole = _Group(-1)
    within = [whole]
    left_out: set[int] = set()
    last = ""
    for token in tokens(definition):
        group, text = within[-1], token.text.lower()
        if group.parts and not group.parts[-1].after:
            group.parts[-1].after = text
        if text == "(":
            within.append(_Group(token.start))
            group.parts.append(_Part(within[-1], -1, last))
            text = ""
        elif text == ")" and len(within) > 1:
            left_out |= _inside(within.pop(), token)
            within[-1].parts[-1].closing = token.start
        elif text in {"and", "or"} or text in _BREAKS:
            group.words.add(text)
        last = text
    return "".join(letter for at, letter in enumerate(definition) if at not in left_out)


def _inside(group: _Group, closing: Token) -> set[int]:
    """The parentheses right in a chain of one word around chains of the same word."""
    group.parts[-1:] = [_ended(part, closing) for part in group.parts[-1:]]
    if group.words not in ({"and"}, {"or"}):
        return set()
    (word,) = group.words
    return {
        place
        for part in group.parts
        if part.group.words == {word} and part.before in {"", word} and part.after in {")", word}
        for place in (part.group.opening, part.closing)
    }


def _ended(part: _Part, closing: Token) -> _Part:
    part.after = part.after or closing.text
    return part
