"""Other people's linters, where they are installed and the project has set them up."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pymilk.problem import Problem
from pymilk.project.finding import Finding, Looked
from pymilk.project.project import Project

_SECONDS = 600


def lint_with_others(project: Project) -> Looked:
    """What squawk (lock hazards) and sqlfluff (format) find.

    Each is run only where the project says how: with its own defaults, it would drown whoever never
    asked for it.
    """
    root = project.root
    return _run_where_set_up("squawk", root, is_set_up=(root / ".squawk.toml").is_file()) + (
        _run_where_set_up("sqlfluff", root, is_set_up=_sets_up_sqlfluff(root))
    )


_SET_UP_BY = {"squawk": ".squawk.toml", "sqlfluff": "[tool.sqlfluff] in pyproject.toml"}


def _run_where_set_up(name: str, root: Path, *, is_set_up: bool) -> Looked:
    if not is_set_up:
        return Looked(notes=(f"{name} was not run: the project has no {_SET_UP_BY[name]}",))
    # Beside our own Python first: that is where `pip install` puts it.
    beside = Path(sys.executable).parent / name
    program = str(beside) if beside.is_file() else shutil.which(name)
    if program is None:
        return Looked(notes=(f"{name} was not run: it is not installed",))
    look = {"squawk": _squawk, "sqlfluff": _sqlfluff}[name]
    return Looked(tuple(look(program, root)))


_MARKS = (
    (".sqlfluff", ""),
    ("pyproject.toml", "[tool.sqlfluff"),
    ("setup.cfg", "[sqlfluff"),
    ("tox.ini", "[sqlfluff"),
)


def _sets_up_sqlfluff(root: Path) -> bool:
    return any(
        (root / name).is_file()
        and mark in (root / name).read_text(encoding="utf-8", errors="replace")
        for name, mark in _MARKS
    )


def _squawk(program: str, root: Path) -> Iterator[Finding]:
    files = sorted(str(path.relative_to(root)) for path in root.glob("supabase/migrations/*.sql"))
    if not files:
        return
    said = _run([program, "--config", ".squawk.toml", "--reporter", "json", *files], root)
    for each in _json(said, "squawk"):
        rule = f"squawk-{each['rule_name']}"
        yield Finding(each["file"], each["line"] + 1, rule, each["message"])


def _sqlfluff(program: str, root: Path) -> Iterator[Finding]:
    folders = [name for name in ("supabase", "sql") if (root / name).is_dir()]
    options = ("--processes", "2", "--disable-progress-bar", "--format", "json")
    said = _run([program, "lint", *options, *folders], root)
    for file in _json(said, "sqlfluff"):
        for each in file["violations"]:
            line = each.get("start_line_no") or each.get("line_no") or 1
            yield Finding(file["filepath"], line, f"sqlfluff-{each['code']}", each["description"])


def _run(command: list[str], root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=root, capture_output=True, text=True, check=False, timeout=_SECONDS
    )


def _json(said: subprocess.CompletedProcess[str], name: str) -> list[Any]:
    """The linter's own document.

    Raises:
        Problem: It gave none.
    """
    try:
        return list(json.loads(said.stdout))
    except json.JSONDecodeError:
        words = (said.stderr or said.stdout).strip().splitlines()
        raise Problem(
            f"{name} failed: {words[-1] if words else 'without a word'}",
            state="No file was changed.",
            todo=f"Run it by itself to see more: {' '.join(said.args[:2])}",
        ) from None
