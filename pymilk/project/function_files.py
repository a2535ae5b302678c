"""The function files of a project: one function each, the one source of its text."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pymilk.problem import UsageProblem
from pymilk.project.functions import (
    Declaration,
    makes_function,
    read_commented,
    read_declaration,
)
from pymilk.project.migrations import read_script
from pymilk.project.project import Project
from pymilk.project.quotations import text_of
from pymilk.project.statements import split

_MARK = re.compile(r"^-- (?:>>>|<<<)", re.MULTILINE)


@dataclass(frozen=True)
class FunctionFile:
    """One function file.

    Attributes:
        path: From the project's folder, with slashes.
        text: What it says.
        declaration: What its function declares.
    """

    path: str
    text: str
    declaration: Declaration


def read_function_files(project: Project) -> Mapping[str, FunctionFile]:
    """Path → each function file of a project, in the order of their paths.

    Raises:
        UsageProblem: There is no such folder, a file is unfit, or two make the same function.
    """
    folder = project.root / project.functions
    if not folder.is_dir():
        raise _refusal(
            f"There is no folder {project.functions} in {project.root}.",
            "Put each function into a file of its own there; or name the folder in pyproject.toml:"
            ' [tool.pymilk], functions = "…".',
        )
    found: dict[str, FunctionFile] = {}
    for path in sorted(folder.rglob("*.sql")):
        file = _read(project.root, path)
        found[file.path] = file
    _refuse_twins(found.values())
    return found


def _read(root: Path, path: Path) -> FunctionFile:
    shown = path.relative_to(root).as_posix()
    text = text_of(read_script(path))
    statements = split(text)
    creates = [statement for statement in statements if makes_function(statement)]
    if len(creates) != 1:
        raise _refusal(
            f"{shown} makes {len(creates) or 'no'} function{'s' if creates else ''}.",
            "A file makes one, named like the file.",
        )
    declaration = read_declaration(creates[0].text)
    name = declaration.name
    schema, _, last = name.rpartition(".")
    if not schema:
        raise _refusal(
            f"{shown} makes '{name}' in whatever schema comes first at the time.",
            f"Name it with its schema: public.{name}.",
        )
    if last.strip('"') != path.stem:
        raise _refusal(f"{shown} makes {name}.", f"Name the file like the function: {last}.sql.")
    if creates[0].words[1] != "or":
        raise _refusal(
            f"{shown} says 'create function': it could not be run over a database that has it.",
            "Say 'create or replace function'.",
        )
    comments = [each for each in statements if each.words[:3] == ("comment", "on", "function")]
    if not any(_is_about(declaration, read_commented(each.text)) for each in comments):
        raise _refusal(
            f"{shown} has no comment on function {declaration.signature}.",
            "Say there what the function does: comment on function … is '…';",
        )
    if not text.endswith("\n"):
        raise _refusal(f"{shown} ends without a line end.", "Add one; it is quoted as it is.")
    if _MARK.search(text):
        raise _refusal(
            f"{shown} has a line that begins like a mark of a quotation, '-- >>>' or '-- <<<'.",
            "Write that line differently.",
        )
    return FunctionFile(shown, text, declaration)


def _is_about(declaration: Declaration, commented: tuple[str, tuple[str, ...] | None]) -> bool:
    name, types = commented
    return name == declaration.name and types in {None, declaration.types}


def _refuse_twins(files: Iterable[FunctionFile]) -> None:
    seen: dict[str, str] = {}
    for file in files:
        name = file.declaration.name
        if name in seen:
            raise _refusal(
                f"{seen[name]} and {file.path} both make {name}.",
                "Keep one; a function of the same name with other arguments is another function"
                " to the app as well: call it …_v2.",
            )
        seen[name] = file.path


def _refusal(happened: str, todo: str) -> UsageProblem:
    return UsageProblem(happened, state="No file was written.", todo=todo)
