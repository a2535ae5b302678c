"""The blocks in which migrations quote function files, and what each function said when.

In a migration a block quotes a file, or says that it is gone; in its rollback a block brings back
what was there before, or drops what was not:

    -- >>> sql/functions/bills/pay_bill.sql sha256:…
    …the file, to the letter…
    -- <<<
    -- >>> sql/functions/bills/pay_bill.sql as of 20250917000000_gap_001_pay_bill sha256:…
    -- >>> sql/functions/bills/pay_bill.sql was not there
    -- >>> sql/functions/bills/pay_bill.sql is gone
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256

from pymilk.problem import UsageProblem
from pymilk.project.functions import (
    Declaration,
    makes_function,
    read_commented,
    read_declaration,
    read_dropped,
)
from pymilk.project.migrations import Migration, Script
from pymilk.project.statements import Statement, split

NOT_THERE = "was not there"
GONE = "is gone"
_HEAD = re.compile(
    r"-- >>> (?P<path>.+?) (?P<what>sha256:\w+|as of \S+ sha256:\w+|was not there|is gone)"
)
_BLOCK = re.compile(
    # what has to be dropped first, because `create or replace` can't change it so far
    r"^(?P<drop>drop function [^;\n]+;\n)?"
    r"(?P<head>-- >>> [^\n]*)\n(?P<text>.*?)^-- <<<[^\n]*(?:\n|\Z)",
    re.DOTALL | re.MULTILINE,
)
_MARK = re.compile(r"^-- (?:>>>|<<<).*$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One block.

    Attributes:
        path: The function file, from the project's folder.
        what: The rest of its first line: a hash, `as of …`, `was not there`, `is gone`.
        text: What stands in it.
        drop: The `drop function` on the line before it; empty when there is none.
    """

    path: str
    what: str
    text: str
    drop: str = ""

    @cached_property
    def function(self) -> str:
        """The name of the function that it makes or drops."""
        for statement in split(self.text):
            if makes_function(statement):
                return read_declaration(statement.text).name
            if statement.words[:2] == ("drop", "function"):
                return read_dropped(statement.text)[0][0]
        return ""

    @cached_property
    def declaration(self) -> Declaration | None:
        """What it makes; none when it only drops."""
        return declared(self.text)

    @property
    def is_true(self) -> bool:
        """Whether its hash is the hash of its text."""
        _, colon, digest = self.what.partition("sha256:")
        return not colon or digest == hash_of(self.text)

    @property
    def whole(self) -> str:
        """As it is written."""
        return f"{self.drop}-- >>> {self.path} {self.what}\n{self.text}-- <<<\n"


@dataclass(frozen=True)
class Region:
    """A script around its blocks.

    Attributes:
        before: What stands before the first one; everything when there are none.
        blocks: The blocks, each with what stands between it and the next one.
        after: What stands after the last one.
    """

    before: str
    blocks: tuple[tuple[Block, str], ...]
    after: str

    @property
    def by_hand(self) -> str:
        """All that is not in blocks."""
        return self.before + "".join(between for _, between in self.blocks) + self.after


@dataclass(frozen=True)
class Quotation:
    """What a function said from one migration on.

    Attributes:
        stem: The migration.
        text: What to run to have it so; begins `create or replace`.
        declaration: What it declares.
        path: The file that is quoted; none for a statement that stands in the migration itself.
    """

    stem: str
    text: str
    declaration: Declaration
    path: str | None


# (name, types) → what it says; what was dropped is not in it.
Functions = dict[tuple[str, tuple[str, ...]], Quotation]
# What is dropped: names, each with its types if they are written.
Dropped = tuple[tuple[str, tuple[str, ...] | None], ...]


def hash_of(text: str) -> str:
    """The hash that stands beside a quotation."""
    return sha256(text.encode()).hexdigest()


def text_of(script: Script) -> str:
    """What a script says, whatever ends its lines: that is the checkout's business."""
    return script.text.replace("\r\n", "\n")


def declared(text: str) -> Declaration | None:
    """What the first `create function` in a text declares."""
    creates = (statement for statement in split(text) if makes_function(statement))
    first = next(creates, None)
    return read_declaration(first.text) if first else None


def read_region(script: Script) -> Region:
    """Find the blocks of a migration or a rollback.

    Raises:
        UsageProblem: A mark stands alone, says nothing known, or a file has two blocks.
    """
    text = text_of(script)
    spans = list(_BLOCK.finditer(text))
    inside = [range(span.start("head"), span.end()) for span in spans]
    for mark in _MARK.finditer(text):
        begins = mark.group().startswith("-- >>>")
        if begins and any(mark.start() == place.start for place in inside):
            continue
        if not begins and any(place.start < mark.start() < place.stop for place in inside):
            continue
        raise _unreadable(script, text, mark.start(), "its other end is missing")
    blocks: list[Block] = []
    starts: list[int] = []
    for span in spans:
        head = _HEAD.fullmatch(span["head"])
        if not head:
            raise _unreadable(script, text, span.start("head"), "it says nothing that is known")
        if any(block.path == head["path"] for block in blocks):
            raise _unreadable(script, text, span.start("head"), "the file has a block already")
        block = Block(head["path"], head["what"], span["text"])
        # A drop of something else that happens to stand there is no part of the block.
        own = span["drop"] and read_dropped(span["drop"])[0][0] == block.function
        blocks.append(replace(block, drop=span["drop"]) if own else block)
        starts.append(span.start() if own else span.start("head"))
    if not spans:
        return Region(text, (), "")
    ends = [span.end() for span in spans]
    betweens = [text[end:start] for end, start in zip(ends, starts[1:], strict=False)]
    return Region(
        text[: starts[0]],
        tuple(zip(blocks, [*betweens, ""], strict=True)),
        text[ends[-1] :],
    )


def functions_before(migrations: tuple[Migration, ...], version: str | None = None) -> Functions:
    """What each function says before a migration runs, or after all of them."""
    found: Functions = {}
    for migration in migrations:
        if version is not None and int(migration.version) >= int(version):
            break
        run(found, migration)
    return found


def drops_by_hand(region: Region) -> Dropped:
    """The functions that a script drops outside of its blocks."""
    return tuple(
        dropped
        for statement in split(region.by_hand)
        if statement.words[:2] == ("drop", "function")
        for dropped in read_dropped(statement.text)
    )


def makes_by_hand(region: Region) -> frozenset[str]:
    """The names of the functions that a script makes outside of its blocks."""
    return frozenset(
        read_declaration(statement.text).name
        for statement in split(region.by_hand)
        if makes_function(statement)
    )


def names_touched(migration: Migration) -> frozenset[str]:
    """The functions that a migration makes, replaces or drops."""
    region = read_region(migration.up)
    dropped = (name for name, _ in drops_by_hand(region))
    return frozenset({*blocks_of(region), *makes_by_hand(region), *dropped})


def forget(found: Functions, dropped: Dropped) -> None:
    """Take dropped functions out."""
    for name, types in dropped:
        for key in [key for key in found if key[0] == name and types in {None, key[1]}]:
            del found[key]


def run(found: Functions, migration: Migration) -> None:
    """Do to the functions what a migration does to them."""
    region = read_region(migration.up)
    pieces: list[str | Block] = [region.before]
    for block, between in region.blocks:
        pieces += [block, between]
    for piece in (*pieces, region.after):
        if isinstance(piece, str):
            _run_by_hand(found, migration.stem, piece)
        elif piece.what == GONE:
            _run_by_hand(found, migration.stem, piece.text)
        elif piece.declaration:
            made = Quotation(migration.stem, piece.text, piece.declaration, piece.path)
            found[made.declaration.name, made.declaration.types] = made


def _run_by_hand(found: Functions, stem: str, text: str) -> None:
    for statement in split(text):
        if makes_function(statement):
            declaration = read_declaration(statement.text)
            uncommented = f"comment on function {declaration.signature} is null;\n"
            whole = f"{_restating(statement)};\n\n{uncommented}"
            found[declaration.name, declaration.types] = Quotation(stem, whole, declaration, None)
        elif statement.words[:2] == ("drop", "function"):
            forget(found, read_dropped(statement.text))
        elif statement.words[:3] == ("comment", "on", "function"):
            name, types = read_commented(statement.text)
            for key, quotation in found.items():
                if key[0] == name and types in {None, key[1]} and quotation.path is None:
                    create, _, _ = quotation.text.rpartition("\n\ncomment on function ")
                    said = f"{create}\n\n{_uncommented(statement)};\n"
                    found[key] = replace(quotation, text=said)


def _uncommented(statement: Statement) -> str:
    """A statement from its first word on."""
    return "\n".join(statement.text.split("\n")[statement.line - statement.starts :])


def _restating(statement: Statement) -> str:
    """A `create function` as `create or replace`, with the comment that stands right above it."""
    lines = statement.text.split("\n")
    first = statement.line - statement.starts
    above = first
    while above > 0 and lines[above - 1].startswith("--"):
        above -= 1
    create = re.sub(
        r"^create\s+function",
        "create or replace function",
        "\n".join(lines[first:]),
        flags=re.IGNORECASE,
    )
    return "\n".join([*lines[above:first], create])


def _unreadable(script: Script, text: str, at: int, why: str) -> UsageProblem:
    line = text.count("\n", 0, at) + 1
    return UsageProblem(
        f"{script.short_path}, line {line}: a mark of a quoted function, and {why}.",
        state="No file was written.",
        todo="A block begins '-- >>> path sha256:…' and ends '-- <<<'; see CONTRIBUTING.md.",
    )


def blocks_of(region: Region) -> Mapping[str, Block]:
    """Function → its block."""
    return {block.function: block for block, _ in region.blocks}
