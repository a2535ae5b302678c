"""A migration that is not there yet: its version, and what its files begin with."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from pymilk.problem import UsageProblem
from pymilk.project.migrations import Migration, Script, find_migration
from pymilk.project.project import Project
from pymilk.project.whole_file import write_whole

# What `supabase migration new` takes as well; a bare number is a gap or a version.
_NEW_NAME = re.compile(r"[a-z][a-z0-9_]*[a-z][a-z0-9_]*")
_TIME = "%Y%m%d%H%M%S"
_GAP_ALONE = re.compile(r"gap_?\d+")


def migration_named(project: Project, name: str) -> Migration | None:
    """The migration that a person means; the newest, should several have that name."""
    newest = [migration for migration in project.migrations if migration.name == name]
    if newest:
        return newest[-1]
    try:
        return find_migration(project.migrations, name)
    except UsageProblem:
        if _NEW_NAME.fullmatch(name) and not _GAP_ALONE.fullmatch(name):
            return None
        raise UsageProblem(
            f"There is no migration '{name}', and a new one can't be called that.",
            state="No file was written.",
            todo="Call it by what it does, in lower-case words: gap_012_pay_bill_atomic.",
        ) from None


def new_migration(project: Project, name: str, now: datetime) -> Migration:
    """A migration with the next version, its rollback, and a verification that fails until it is
    written.
    """  # noqa: D205 - one sentence
    version = _next_version(project, now)
    stem = f"{version}_{name}"
    supabase = project.root / "supabase"
    empty = Migration(
        version, name, Script(supabase / "migrations" / f"{stem}.sql", ""), None, None
    )
    said = f"-- {empty.label}: say here what was wrong, and what holds from now on.\n"
    canary = _CANARY.format(label=empty.label, stem=stem)
    return replace(
        empty,
        up=replace(empty.up, text=said),
        down=new_rollback(project, empty),
        verify=Script(supabase / "verify" / f"{stem}.sql", canary),
    )


def scaffold(project: Project, name: str, now: datetime) -> tuple[str, ...]:
    """Write the files of a new migration, under one stem; gives their paths.

    Args:
        project: Where.
        name: What it is called, `gap_012_pay_bill_atomic`.
        now: This moment, in UTC.

    Raises:
        UsageProblem: It can't be called that, or there is one already.
        OSError: They can't be written; none of them is there then.
    """
    there = migration_named(project, name)
    if there is not None:
        raise _taken(f"There is a migration '{name}' already: {there.stem}.")
    migration = new_migration(project, name, now)
    twin = next(
        (each for each in project.migrations if each.gap and each.gap == migration.gap), None
    )
    if twin is not None:
        raise _taken(f"{twin.label} is {twin.stem} already.")
    scripts = (migration.up, migration.down, migration.verify)
    texts = {script.path: script.text for script in scripts if script is not None}
    texts |= page_of(project, migration)
    _write(texts)
    return tuple(path.relative_to(project.root).as_posix() for path in texts)


def _write(texts: Mapping[Path, str]) -> None:
    """All of them or none: half of them would be a migration without its rollback."""
    begun: list[Path] = []
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, text.encode())
            begun.append(path)
    except OSError:
        for path in begun:
            path.unlink()
        raise


def _taken(happened: str) -> UsageProblem:
    return UsageProblem(happened, state="No file was written.", todo="Choose another name.")


def _next_version(project: Project, now: datetime) -> str:
    """Fourteen digits of UTC time, later than every one there is."""
    newest = max((migration.version for migration in project.migrations), key=int, default="0")
    version = now.strftime(_TIME)
    if int(newest) < int(version):
        return version
    try:
        return (datetime.strptime(newest, _TIME) + timedelta(seconds=1)).strftime(_TIME)  # noqa: DTZ007
    except ValueError:  # digits that are no time
        return str(int(newest) + 1).zfill(len(newest))


def new_rollback(project: Project, migration: Migration) -> Script:
    """The rollback of a migration that has none yet."""
    path = project.root / "supabase" / "rollbacks" / f"{migration.stem}.sql"
    return Script(path, f"-- Undoes {migration.label}, exactly.\n")


def page_of(project: Project, migration: Migration) -> dict[Path, str]:
    """The page of a gap, where a project has such pages; path → text."""
    folder = project.root / "docs" / "gaps"
    path = folder / f"{f'gap_{migration.gap}' if migration.gap else migration.name}.md"
    if not folder.is_dir() or path.exists():
        return {}
    how = {
        way: f"make {way}-gap GAP={migration.gap}"
        if migration.gap
        else f"pymilk {way} {migration.name}"
        for way in ("deploy", "rollback")
    }
    return {path: _PAGE.format(label=migration.label, stem=migration.stem, **how)}


_CANARY = """\
-- Shows that {label} is in effect, or raises: calls the real functions as the real roles.

do $$
begin
  raise exception 'the canary of {stem} is not written yet';
end;
$$;
"""

_PAGE = """\
# {label}

Migration: `{stem}`.

## Why

## What changes

## App side

## Deploy

`{deploy}`

## Watch

## Roll back

`{rollback}`
"""
