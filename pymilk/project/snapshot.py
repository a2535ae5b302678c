"""Quote function files into a migration, and what they replace into its rollback."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pymilk.problem import UsageProblem
from pymilk.project.function_files import FunctionFile, read_function_files
from pymilk.project.functions import Declaration, read_dropped
from pymilk.project.migrations import Migration
from pymilk.project.new_migration import (
    migration_named,
    new_migration,
    new_rollback,
    page_of,
)
from pymilk.project.project import Project
from pymilk.project.quotations import (
    GONE,
    NOT_THERE,
    Block,
    Dropped,
    Functions,
    Quotation,
    Region,
    blocks_of,
    drops_by_hand,
    forget,
    functions_before,
    hash_of,
    makes_by_hand,
    names_touched,
    read_region,
)
from pymilk.project.regions import arrange
from pymilk.project.whole_file import write_whole


@dataclass(frozen=True)
class Snapshot:
    """What was done.

    Attributes:
        migration: The stem of the migration that quotes.
        quoted: Files whose quotation was written.
        gone: Files that are no more; the migration drops their functions.
        later: Files that differ, but a later migration quotes them: its path → that stem.
        written: Files that were written, from the project's folder.
    """

    migration: str
    quoted: tuple[str, ...]
    gone: tuple[str, ...]
    later: Mapping[str, str]
    written: tuple[str, ...]


def take_snapshot(
    project: Project, name: str, paths: Iterable[Path] = (), *, now: datetime | None = None
) -> Snapshot:
    """Quote what differs into the migration of this name; a new one when there is none yet.

    Args:
        project: Where the files are.
        name: A migration's name, or what else a person calls it; `gap_012_what_it_does`.
        paths: The function files to look at; all of them when none is named.
        now: What a new migration's version is made of.

    Raises:
        UsageProblem: A file is unfit, or a function would become two. Nothing was written.
    """
    files = read_function_files(project)
    there = migration_named(project, name)
    migration = there or new_migration(project, name, now or datetime.now(UTC))
    asked = _asked(project, files, paths)
    changed, gone, later = _differences(project, migration, files, asked)
    if asked and later:
        path, stem = next(iter(later.items()))
        raise UsageProblem(
            f"{path} is quoted by a later migration, {stem}, whose rollback restores it as"
            f" {migration.label} quotes it.",
            state="No file was written.",
            todo=f"Quote it there: pymilk snapshot {stem.partition('_')[0]} {path}",
        )
    if there is None and not changed and not gone:
        return Snapshot(migration.stem, (), (), later, ())
    before = functions_before(project.migrations, migration.version)
    texts = _texts(project, migration, changed, gone, before)
    if there is None:
        texts.update(page_of(project, migration))
        if migration.verify:
            texts[migration.verify.path] = migration.verify.text
    return Snapshot(
        migration.stem,
        tuple(sorted(file.path for file in changed)),
        tuple(sorted(quotation.path or "" for quotation in gone)),
        later,
        tuple(_write(project, texts)),
    )


def _asked(
    project: Project, files: Mapping[str, FunctionFile], paths: Iterable[Path]
) -> frozenset[str]:
    """The files that were named, from the project's folder; none means all."""
    quoted = {each.path for each in functions_before(project.migrations).values()}
    asked = set()
    for path in paths:
        # From where the person is, or from the project's folder.
        wholes = [(folder / path).resolve() for folder in (Path.cwd(), project.root)]
        inside = [
            whole.relative_to(project.root).as_posix()
            for whole in wholes
            if whole.is_relative_to(project.root)
        ]
        known = (each for each in inside if each in {*files, *quoted})
        shown = next(known, inside[-1] if inside else str(path))
        if shown not in files and shown not in quoted:
            raise UsageProblem(
                f"There is no function file {shown}.",
                state="No file was written.",
                todo=f"They lie in {project.functions}, one function a file.",
            )
        asked.add(shown)
    return frozenset(asked)


def _differences(
    project: Project,
    migration: Migration,
    files: Mapping[str, FunctionFile],
    asked: frozenset[str],
) -> tuple[list[FunctionFile], list[Quotation], dict[str, str]]:
    """Files to quote, quotations whose file is gone, and what belongs into a later migration."""
    newest = functions_before(project.migrations)
    after: dict[str, str] = {}
    for each in project.migrations:
        if int(each.version) > int(migration.version):
            after.update(dict.fromkeys(names_touched(each), each.stem))
    changed, gone, later = [], [], {}
    for file in files.values():
        name = file.declaration.name
        quoted = newest.get((name, file.declaration.types))
        if (asked and file.path not in asked) or (quoted and is_quoted(file, quoted, migration)):
            continue
        if name in after:
            later[file.path] = after[name]
        else:
            changed.append(file)
    for quotation in without_file(files, newest):
        path, name = quotation.path or "", quotation.declaration.name
        if asked and path not in asked:
            continue
        if name in after:
            later[path] = after[name]
        else:
            gone.append(quotation)
    return changed, gone, later


def is_quoted(file: FunctionFile, quoted: Quotation, migration: Migration | None = None) -> bool:
    """Whether a file says what was quoted last; where it lay at that time doesn't matter."""
    moved = migration is not None and quoted.stem == migration.stem and quoted.path != file.path
    return file.text == quoted.text and not moved


def without_file(files: Mapping[str, FunctionFile], newest: Functions) -> tuple[Quotation, ...]:
    """The quotations of files that are no more."""
    made = {file.declaration.name for file in files.values()}
    return tuple(
        quotation for (name, _), quotation in newest.items() if quotation.path and name not in made
    )


def _texts(
    project: Project,
    migration: Migration,
    changed: list[FunctionFile],
    gone: list[Quotation],
    before: Functions,
) -> dict[Path, str]:
    """What the migration and its rollback have to say."""
    up = read_region(migration.up)
    by_hand = drops_by_hand(up)
    blocks = dict(blocks_of(up))
    for file in changed:
        _refuse_an_overload(file, before, by_hand)
        what = f"sha256:{hash_of(file.text)}"
        blocks[file.declaration.name] = Block(file.path, what, file.text)
    for quotation in gone:
        made = quotation.declaration
        if (made.name, made.types) in before:
            text = f"drop function {made.signature};\n"
            blocks[made.name] = Block(quotation.path or "", GONE, text)
        else:  # it never left this migration
            blocks.pop(made.name, None)
    for name, block in blocks.items():
        then = quotation_before(block, before)
        was = then.declaration if then else None
        blocks[name] = _after_a_drop(block, was, block.declaration, by_hand)
    there = {name: each.text for (name, _), each in before.items()}
    heading = f"-- functions, quoted from {project.functions} ".ljust(98, "-")
    texts = {migration.up.path: arrange(up, blocks, there, heading)}
    if migration.irreversible:
        return texts
    script = migration.down or new_rollback(project, migration)
    down = read_region(script)
    undoing = _undoing(down, blocks, before)
    heading = "-- functions, as they were before ".ljust(98, "-")
    there = {name: block.text for name, block in blocks.items()}
    texts[script.path] = arrange(down, undoing, there, heading)
    return texts


def _after_a_drop(
    block: Block, was: Declaration | None, will_be: Declaration | None, by_hand: Dropped
) -> Block:
    """The block, with a drop before it where `create or replace` can't go so far."""
    if not was or not will_be or will_be.replaces(was):
        return replace(block, drop="")
    if any(name == was.name for name, _ in by_hand):
        return block
    return replace(block, drop=f"drop function {was.signature};\n")


def _undoing(region: Region, blocks: Mapping[str, Block], before: Functions) -> dict[str, Block]:
    """The rollback's blocks: each function as it was before, or dropped."""
    there, made, by_hand = blocks_of(region), makes_by_hand(region), drops_by_hand(region)
    dropped = {name for name, _ in by_hand}
    undoing: dict[str, Block] = {}
    for name, block in blocks.items():
        then = quotation_before(block, before)
        if then is None and name not in dropped and block.declaration:
            drop = f"drop function {block.declaration.signature};\n"
            undoing[name] = Block(block.path, NOT_THERE, drop)
        elif then is not None and name not in made:
            old = there.get(name)
            if old and brings_back(old, then):
                undoing[name] = replace(old, path=block.path)
            else:
                what = f"as of {then.stem} sha256:{hash_of(then.text)}"
                undoing[name] = Block(block.path, what, then.text)
            undoing[name] = _after_a_drop(
                undoing[name], block.declaration, then.declaration, by_hand
            )
    return undoing


def quotation_before(block: Block, before: Functions) -> Quotation | None:
    """What the function of a migration's block said before it."""
    if block.declaration:
        return before.get((block.declaration.name, block.declaration.types))
    name, types = read_dropped(block.text)[0]
    return next(
        (each for key, each in before.items() if key[0] == name and types in {None, key[1]}), None
    )


def brings_back(block: Block, then: Quotation) -> bool:
    """Whether a rollback's block says what was there before.

    Where that was a statement of the migration itself, what the file has no words for (its comment
    and privileges) may follow in the author's own.
    """
    right = block.what == f"as of {then.stem} sha256:{hash_of(block.text)}"
    if then.path is None:
        return right and block.text.startswith(then.text.rpartition("\n\ncomment on ")[0])
    return right and block.text == then.text


def _refuse_an_overload(
    file: FunctionFile,
    before: Functions,
    by_hand: Dropped,
) -> None:
    left = dict(before)
    forget(left, by_hand)
    made = file.declaration
    others = [each for each in left if each[0] == made.name and each[1] != made.types]
    if others:
        was = left[others[0]]
        raise UsageProblem(
            f"{file.path} makes {made.signature}, and {was.stem} made"
            f" {was.declaration.signature}: both would be there, and the API could not tell them"
            " apart.",
            state="No file was written.",
            todo="What callers give has changed: make it a new function beside the old one,"
            f" {made.name}_v2. Or drop the old one yourself, in the migration, if nobody calls it.",
        )


def _write(project: Project, texts: Mapping[Path, str]) -> list[str]:
    written = []
    for path, text in texts.items():
        old = path.read_bytes().decode("utf-8-sig") if path.is_file() else None
        new = text.replace("\n", "\r\n") if old and "\r\n" in old else text
        if new == old:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, new.encode())
        written.append(path.relative_to(project.root).as_posix())
    return written
