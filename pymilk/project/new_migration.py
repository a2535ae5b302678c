"""A migration that is not there yet: its version, and what its files begin with."""

import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from pymilk.problem import UsageProblem
from pymilk.project.migrations import Migration, Script, find_migration
from pymilk.project.project import Project

# What `supabase migration new` takes as well; a bare number is a gap or a version.
_NEW_NAME = re.compile(r"[a-z][a-z0-9_]*[a-z][a-z0-9_]*")
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
    newest = max((migration.version for migration in project.migrations), key=int, default="0")
    version = max(now.strftime("%Y%m%d%H%M%S"), str(int(newest) + 1).zfill(len(newest)), key=int)
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


def new_rollback(project: Project, migration: Migration) -> Script:
    """The rollback of a migration that has none yet."""
    path = project.root / "supabase" / "rollbacks" / f"{migration.stem}.sql"
    return Script(path, f"-- Undoes {migration.label}, exactly.\n")


def page_of(project: Project, migration: Migration) -> dict[Path, str]:
    """The page of a gap, where a project has such pages; path → text."""
    folder = project.root / "docs" / "gaps"
    path = folder / f"gap_{migration.gap}.md"
    if migration.gap is None or not folder.is_dir() or path.exists():
        return {}
    return {path: _PAGE.format(label=migration.label, gap=migration.gap, stem=migration.stem)}


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

`make deploy-gap GAP={gap}`

## Watch

## Roll back

`make rollback-gap GAP={gap}`
"""
