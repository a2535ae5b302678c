"""Laying Python out as a formatter would: in one line where it fits, else a line for each part."""

import re
import textwrap
from collections.abc import Iterable, Sequence

WIDTH = 100
# The texts of a list of texts.
_PARTS = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s,'"]+""")


def bracketed(before: str, parts: Sequence[str], after: str, *, apart: bool = False) -> list[str]:
    """Lines of `before`, the parts with commas between, and `after`.

    Args:
        before: Up to the opening bracket; its indentation is that of the whole.
        parts: What stands between the brackets; each may have lines of its own.
        after: From the closing bracket on.
        apart: A line for each part, even if one would do.
    """
    flat = ", ".join(parts)
    if not parts:
        return [f"{before}{after}"]
    if not apart and "\n" not in flat and len(f"{before}{flat}{after}") <= WIDTH:
        return [f"{before}{flat}{after}"]
    indent = before[: len(before) - len(before.lstrip())]
    if not apart and "\n" not in flat and len(f"{indent}    {flat}") <= WIDTH:
        return [before, f"{indent}    {flat}", f"{indent}{after}"]
    inner = [f"{indent}    {line}" for part in parts for line in f"{part},".split("\n")]
    return [before, *inner, f"{indent}{after}"]


def nested(before: str, expression: str, after: str) -> list[str]:
    """Lines of calls inside of calls: each call's brackets are opened where it is long."""
    match = re.fullmatch(r"([\w.]+\()(.*)(\))", expression)
    if len(f"{before}{expression}{after}") <= WIDTH or match is None:
        return [f"{before}{expression}{after}"]
    if not match[2].endswith(")"):
        parts = _PARTS.findall(match[2])
        return bracketed(f"{before}{match[1]}", parts, f"{match[3]}{after}")
    indent = before[: len(before) - len(before.lstrip())]
    inner = nested(f"{indent}    ", match[2], "")
    return [f"{before}{match[1]}", *inner, f"{indent}{match[3]}{after}"]


def docstring(paragraphs: Iterable[str], indent: str) -> list[str]:
    """A docstring. A paragraph that begins with a blank is laid out already."""
    blocks = []
    for paragraph in filter(None, paragraphs):
        safe = paragraph.replace('"""', "'''")
        blocks.append(
            safe.split("\n") if safe.startswith(" ") or ":\n" in safe else _wrapped(safe, indent)
        )
    lines = [line for block in blocks for line in ("", *block)][1:] or [""]
    opening = 'r"""' if any("\\" in line for line in lines) else '"""'
    if len(lines) == 1 and len(f"{indent}{opening}{lines[0]}") + 3 <= WIDTH:
        closing = ' """' if lines[0].endswith('"') else '"""'
        return [f"{indent}{opening}{lines[0]}{closing}"]
    first, *others = lines
    return [
        f"{indent}{opening}{first}",
        *(f"{indent}{line}" if line else "" for line in others),
        f'{indent}"""',
    ]


def section(title: str, entries: Iterable[tuple[str, str]]) -> str:
    """A section of a docstring: a title, and an entry a line, folded."""
    lines = [f"{title}:"]
    for name, text in entries:
        lines += textwrap.wrap(
            f"{name}: {text}" if text else name,
            WIDTH - 8,
            initial_indent="    ",
            subsequent_indent="        ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "\n".join(lines) if len(lines) > 1 else ""


def _wrapped(paragraph: str, indent: str) -> list[str]:
    """A paragraph as lines that fit; its first sentence alone where that is one line."""
    return textwrap.wrap(
        " ".join(paragraph.split()),
        WIDTH - len(indent) - len('r"""'),
        break_long_words=False,
        break_on_hyphens=False,
    )


def sentences(text: str) -> list[str]:
    """A text's paragraphs, the first sentence one of its own."""
    first, *others = text.split("\n\n")
    whole = " ".join(first.split())
    match = re.match(r"(.+?[.!?:;])\s+(\S.*)", whole)
    if len(whole) > WIDTH - 10 and match and len(match[1]) <= WIDTH - 10:
        return [match[1], match[2], *others]
    return [whole, *others]
