"""`pymilk generate`: the functions of a database as typed calls in Python."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pymilk.cli import options
from pymilk.cli.render import say, say_json
from pymilk.problem import UsageProblem

if TYPE_CHECKING:
    from pymilk.generate.module import Generated, Wanted
    from pymilk.project.project import Project

_STALE = 3


@click.command
@click.option(
    "--module",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The Python file to write; without it, the one that pyproject.toml names.",
)
@click.option("--schema", metavar="NAME", help="Whose functions; public.")
@click.option(
    "--check", is_flag=True, help="Write nothing; say whether the file is current (exit code 3)."
)
@click.option(
    "--db-url",
    metavar="URL",
    help="A database that has the functions; without it, a throw-away one is made of this"
    " project's files.",
)
@options.project
@options.as_json
def generate(
    *,
    module: Path | None,
    schema: str | None,
    check: bool,
    db_url: str | None,
    project: Path,
    as_json: bool,
) -> None:
    """Write a typed call for each function of a schema, and a class for each refusal.

    The database is only read. What a comment can declare stands in docs/generate.md.

    Example: pymilk generate --module shop/rpc.py --schema shop --db-url "$SUPABASE_DB_URL"
    """
    from pymilk.database.connection import connect
    from pymilk.generate import module as making
    from pymilk.generate.from_files import replayed
    from pymilk.project.project import load_project

    found = load_project(project)
    wanted = _wanted(found, module, schema)
    with connect(db_url, purpose="generate") if db_url else replayed(found) as connection:
        generated = making.generate(connection, wanted, found.root)
    stale = [file.path for file in generated.files if not file.is_current]
    if not check:
        making.write(generated)
    if as_json:
        say_json(
            {"stale" if check else "written": stale, "functions": generated.functions}
            | {"left_out": generated.left_out}
        )
    else:
        say(*_told(generated, stale, check=check))
    if check and stale:
        raise click.exceptions.Exit(_STALE)


def _wanted(project: "Project", module: Path | None, schema: str | None) -> "Wanted":
    from pymilk.generate.module import Wanted

    settings = project.settings.get("generate", {})
    said = settings if isinstance(settings, dict) else {}
    if module is not None:
        return Wanted(schema or "public", module, None)
    if "module" not in said:
        raise UsageProblem(
            "Into which file?",
            state="No file was written.",
            todo="Name it: --module app/rpc.py; or in pyproject.toml: [tool.pymilk.generate],"
            ' module = "…".',
        )
    refusals = project.root / str(said["refusals"]) if "refusals" in said else None
    named = str(said.get("schema", "public"))
    return Wanted(schema or named, project.root / str(said["module"]), refusals)


def _told(generated: "Generated", stale: list[Path], *, check: bool) -> list[str]:
    lines = [f"{generated.functions} functions as typed calls."]
    if check:
        lines += [f"✗ {path} isn't what the database makes of it." for path in stale]
        lines.append("  To do: pymilk generate" if stale else "Every file is current.")
    else:
        lines += [f"  written  {path}" for path in stale] or ["Every file was current."]
    lines += [f"  left out  {each.what}: {each.why}" for each in generated.left_out]
    return lines
