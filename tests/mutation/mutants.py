"""The mutants of our migrations: each one change, in every migration that says the same there."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import zip_longest

from mutation.edits import Edit, edits_of_code, edits_of_privileges, edits_of_tables
from pymilk.project.migrations import Migration
from pymilk.project.quotations import Block, Region, read_region
from pymilk.project.statements import split

_CONTEXT = 3
_NEARBY = 8
_WORD = re.compile(r"'([a-z]+(?:_[a-z]+)+)'")
_TRIGGER = re.compile(
    r"create (?:constraint )?trigger (?P<name>\w+).*execute function (?P<function>[\w.]+)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Mutant:
    """One change that a test should notice.

    Attributes:
        what: What kind of change it is.
        file: The function's file, or the migration.
        line: The line in it.
        was: That line.
        becomes: What it becomes; empty when it is left out.
        functions: What a test has to call to notice; empty when that is not known.
        names: What a test that is about it may mention: the function, the trigger, its rule.
        words: What is said around it: rules, reasons, invariants.
        texts: The migrations that it changes: stem → text.
        stages: The migrations after which the database says what is changed.
        identity: What it is remembered by: a hash of the whole text that it makes of its function,
            or of its part of the migration.
    """

    what: str
    file: str
    line: int
    was: str
    becomes: str
    functions: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()
    texts: Mapping[str, str] = field(default_factory=dict)
    stages: tuple[str, ...] = ()
    identity: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from others, also when lines move."""
        return self.file, self.was, self.becomes

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}: {self.was} → {self.becomes or 'nothing'}"


def mutants_of(migrations: tuple[Migration, ...]) -> Iterator[Mutant]:
    """Every mutant, in the order of files and lines."""
    regions = [(migration, read_region(migration.up)) for migration in migrations]
    quoted: dict[str, list[tuple[Migration, Block]]] = {}
    for migration, region in regions:
        for block, _ in region.blocks:
            quoted.setdefault(block.function, []).append((migration, block))
    for quotations in sorted(quoted.values(), key=lambda each: each[-1][1].path):
        if quotations[-1][1].declaration:
            yield from _of_function(quotations, migrations)
    for migration, region in regions:
        if region.blocks:
            yield from _of_migration(migration, region, migrations)


def _of_function(
    quoted: list[tuple[Migration, Block]], migrations: tuple[Migration, ...]
) -> Iterator[Mutant]:
    _, block = quoted[-1]
    ends = [migration.stem for migration, _ in quoted[1:]]
    for edit in (*edits_of_code(block.text), *edits_of_privileges(block.text)):
        texts: dict[str, str] = {}
        stages: list[str] = []
        # What `create or replace` keeps has to go everywhere, whatever stands around it.
        start, end = _around(block.text, edit, 0 if edit.what == "privilege" else _CONTEXT)
        same = block.text[start:end]
        for (migration, found), superseded in zip_longest(quoted, ends):
            if found.text.count(same) == 1:
                by = found.text.index(same) - start
                changed = edit.moved(by).of(found.text)
                texts[migration.stem] = migration.up.text.replace(found.text, changed, 1)
                stages += [
                    each.stem
                    for each in migrations
                    if migration.stem <= each.stem and (not superseded or each.stem < superseded)
                ]
        if texts:
            yield replace(
                _mutant(block.path, block.text, edit),
                functions=frozenset({block.function}),
                names=frozenset({block.function.rpartition(".")[2]}),
                words=_words(block.text, edit),
                texts=texts,
                stages=tuple(stages),
                identity=_identity(block.path, edit.of(block.text)),
            )


def _words(text: str, edit: Edit) -> frozenset[str]:
    start, end = _around(text, edit, _NEARBY)
    return frozenset(_WORD.findall(text[start:end]))


def _around(text: str, edit: Edit, lines: int = _CONTEXT) -> tuple[int, int]:
    """The lines around a change: where they are the same, so is what is meant."""
    start, end = edit.start, edit.end
    for _ in range(lines):
        start = text.rfind("\n", 0, start) if "\n" in text[:start] else 0
        end = text.find("\n", end + 1) if "\n" in text[end + 1 :] else len(text)
    return start, end


def _of_migration(
    migration: Migration, region: Region, migrations: tuple[Migration, ...]
) -> Iterator[Mutant]:
    text = migration.up.text
    stages = tuple(each.stem for each in migrations if each.stem >= migration.stem)
    pieces = [region.before, *(between for _, between in region.blocks), region.after]
    kinds: tuple[Callable[[str], Iterator[Edit]], ...] = (edits_of_tables, edits_of_privileges)
    for piece in filter(str.strip, pieces):
        offset = text.index(piece)
        for edit in (edit for kind in kinds for edit in kind(piece)):
            changed = edit.moved(offset)
            path = f"supabase/migrations/{migration.stem}.sql"
            functions, names = _trigger(piece, edit)
            mutant = _mutant(path, text, changed)
            texts = {migration.stem: changed.of(text)}
            yield replace(
                mutant,
                functions=functions,
                names=names,
                texts=texts,
                stages=stages,
                identity=_identity(path, edit.of(piece)),
            )


def _trigger(text: str, edit: Edit) -> tuple[frozenset[str], frozenset[str]]:
    """The function of the trigger that a change is in; the names of the trigger and its rule."""
    at = 0
    for statement in split(text):
        at = text.index(statement.text, at)
        if at <= edit.start < at + len(statement.text):
            made = _TRIGGER.search(statement.text)
            if not made:
                break
            rules = re.findall(r"'(\w+)'", statement.text[made.start("function") :])
            return frozenset({made["function"]}), frozenset({made["name"], *rules[:1]})
    return frozenset(), frozenset()


def _identity(file: str, text: str) -> str:
    return sha256(f"{file}\0{text}".encode()).hexdigest()[:16]


def _mutant(file: str, text: str, edit: Edit) -> Mutant:
    first, last = text.rfind("\n", 0, edit.start) + 1, text.find("\n", edit.end)
    was, becomes = text[first:last], text[first : edit.start] + edit.new + text[edit.end : last]
    line = text.count("\n", 0, edit.start) + 1
    return Mutant(edit.what, file, line, " ".join(was.split()), " ".join(becomes.split()))
