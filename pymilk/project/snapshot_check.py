"""Whether every function file is quoted, and every quotation is true."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from pymilk.project.function_files import read_function_files
from pymilk.project.migrations import Migration
from pymilk.project.project import Project
from pymilk.project.quotations import (
    GONE,
    NOT_THERE,
    Block,
    Functions,
    Quotation,
    Region,
    blocks_of,
    drops_by_hand,
    functions_before,
    hash_of,
    makes_by_hand,
    read_region,
    run,
)
from pymilk.project.snapshot import (
    brings_back,
    is_quoted,
    quotation_before,
    without_file,
)


class Kind(StrEnum):
    """What is to be done about it."""

    WAITS = "waits"
    """A function file is not quoted as it is: `pymilk snapshot` does that."""
    WRONG = "wrong"
    """A migration or a rollback says what it can't mean."""


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        kind: Whether a snapshot is due, or a quotation is wrong.
        file: Where.
        found: What, in a sentence.
    """

    kind: Kind
    file: str
    found: str


def check_quotations(project: Project) -> tuple[Finding, ...]:
    """Everything that is not as it should be; nothing when all is well.

    Raises:
        UsageProblem: A function file is unfit, or a mark can't be read.
    """
    return (*_waiting(project), *_wrong(project))


def _waiting(project: Project) -> Iterator[Finding]:
    files = read_function_files(project)
    newest = functions_before(project.migrations)
    for file in files.values():
        quoted = newest.get((file.declaration.name, file.declaration.types))
        if quoted is None or quoted.path is None:
            yield Finding(Kind.WAITS, file.path, "no migration quotes it")
        elif not is_quoted(file, quoted):
            yield Finding(Kind.WAITS, file.path, f"differs from what {quoted.stem} quotes")
    for quotation in without_file(files, newest):
        found = f"is gone, and {quotation.stem} still makes {quotation.declaration.signature}"
        yield Finding(Kind.WAITS, quotation.path or "", found)


def _wrong(project: Project) -> Iterator[Finding]:
    before: Functions = {}
    for migration in project.migrations:
        up = read_region(migration.up)
        where = f"supabase/migrations/{migration.stem}.sql"
        dropped = {name for name, _ in drops_by_hand(up)}
        for name, block in blocks_of(up).items():
            yield from _wrong_block(where, block)
            then = quotation_before(block, before)
            if (
                block.declaration
                and then
                and not block.declaration.replaces(then.declaration)
                and not block.drop
                and name not in dropped
            ):
                found = (
                    f"{name} can't be replaced as it is: its result changes, and nothing drops it"
                )
                yield Finding(Kind.WRONG, where, found)
        if migration.down and not migration.irreversible:
            yield from _wrong_rollback(migration, up, read_region(migration.down), before)
        run(before, migration)


def _wrong_block(where: str, block: Block) -> Iterator[Finding]:
    if not block.is_true:
        yield Finding(
            Kind.WRONG,
            where,
            f"what it quotes of {block.path} is not what it was: its hash is"
            f" {hash_of(block.text)[:12]}…, not the one beside it",
        )
    if not (block.what == GONE or block.what.startswith("sha256:")):
        yield Finding(Kind.WRONG, where, f"'{block.path} {block.what}' belongs into a rollback")


def _wrong_rollback(
    migration: Migration, up: Region, down: Region, before: Functions
) -> Iterator[Finding]:
    where = f"supabase/rollbacks/{migration.stem}.sql"
    dropped = {name for name, _ in drops_by_hand(down)}
    by_hand = {*dropped, *makes_by_hand(down)}
    blocks, undoing = blocks_of(up), blocks_of(down)
    for name, block in blocks.items():
        found = _wrong_undoing(undoing.get(name), quotation_before(block, before))
        if found and (name in undoing or name not in by_hand):
            yield Finding(Kind.WRONG, where, f"{name} {found}")
    others = {*makes_by_hand(up), *(name for name, _ in drops_by_hand(up))}
    for name in undoing.keys() - blocks.keys() - others:
        yield Finding(Kind.WRONG, where, f"{name} is not what the migration quotes")


def _wrong_undoing(undoing: Block | None, then: Quotation | None) -> str | None:
    if undoing is None:
        return "is neither brought back nor dropped"
    if then is None:
        if undoing.what != NOT_THERE or undoing.declaration:
            return "was not there before, and is not just dropped"
        return None
    if not brings_back(undoing, then):
        return f"is not brought back as {then.stem} left it"
    return None
