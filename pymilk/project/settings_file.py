"""Write settings into a project's pyproject.toml, its comments and formatting as they are."""

import tomllib
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from pymilk.problem import Problem
from pymilk.project.whole_file import write_whole

_UNTOUCHED = "pyproject.toml is as it was, and no database was touched."


def keep_settings(root: Path, section: tuple[str, ...], values: Mapping[str, str]) -> None:
    """Set some keys of one section; the file is made where there is none.

    It is written whole or not at all, and only when it says nothing else than before beside them.

    Args:
        root: The project's folder.
        section: The section's name, part by part: `tool`, `pymilk`, `assess`.
        values: What it says from now on; other keys of it stay.

    Raises:
        Problem: It can't be written, or not without changing something else.
    """
    path = root / "pyproject.toml"
    try:
        text = path.read_bytes().decode() if path.exists() else ""
        changed = _changed(text, section, values)
        if tomllib.loads(changed) != _expected(tomllib.loads(text), section, values):
            raise _refused(section, values, "something else in it would have changed")
        write_whole(path, changed.encode())
    except (OSError, ValueError, TypeError, TOMLKitError) as error:
        raise _refused(section, values, str(error)) from error


def _changed(text: str, section: tuple[str, ...], values: Mapping[str, str]) -> str:
    document = tomlkit.parse(text)
    table: Any = document
    for number, part in enumerate(section, 1):
        if part not in table:
            # What only holds others has no heading of its own.
            table[part] = tomlkit.table(is_super_table=number < len(section))
        table = table[part]
        if not isinstance(table, MutableMapping):
            raise TypeError(f"{part} is no section there")
    for key, value in values.items():
        table[key] = value
    return tomlkit.dumps(document)


def _expected(
    settings: dict[str, Any], section: tuple[str, ...], values: Mapping[str, str]
) -> dict[str, Any]:
    table = settings
    for part in section:
        table = table.setdefault(part, {})
    table.update(values)
    return settings


def _refused(section: tuple[str, ...], values: Mapping[str, str], why: str) -> Problem:
    lines = "; ".join(f'{key} = "{value}"' for key, value in values.items())
    return Problem(
        f"pyproject.toml was not changed: {why}.",
        state=_UNTOUCHED,
        todo=f"Put it there by hand, under [{'.'.join(section)}]: {lines}",
    )
