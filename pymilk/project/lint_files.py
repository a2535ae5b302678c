"""What the files of migrations must be, whatever stands in them: names, pairs, order, transactions.

What only we ask for (a rollback, a verification, one transaction) is asked of projects that keep
their functions as we do, `functions = "…"` under [tool.pymilk]; everybody else is told what would
go wrong for them, and no more.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from pymilk.problem import UsageProblem
from pymilk.project.finding import Finding
from pymilk.project.migrations import read_script, refuse_what_cannot_be_one_transaction
from pymilk.project.project import Project

_FILE_NAME = re.compile(r"^([0-9]+)_(.*)\.sql$")
_FOURTEEN = re.compile(r"^\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])([01]\d|2[0-3])[0-5]\d[0-5]\d$")
_PAIRED = ("rollbacks", "verify", "give_back", "use")
_AT_LINE = re.compile(r", line (\d+): (.*)$", re.DOTALL)


def is_ours(project: Project) -> bool:
    """Whether a project keeps its functions, and so its migrations, as we do."""
    return "functions" in project.settings


def lint_names(project: Project) -> Iterator[Finding]:
    """Names, duplicate versions, pairs without a migration, files older than what is in git."""
    seen: dict[int, str] = {}
    for path in _files(project, "migrations"):
        shown = _shown(project, path)
        found = _FILE_NAME.match(path.name)
        if not found:
            yield Finding(
                shown, 1, "name", "the Supabase CLI skips it: <14 digits of UTC time>_<name>.sql"
            )
            continue
        version = found.group(1)
        if int(version) in seen:
            also = seen[int(version)]
            yield Finding(shown, 1, "version", f"{also} has the same version; the CLI takes one")
        seen.setdefault(int(version), path.name)
        if is_ours(project) and not _FOURTEEN.match(version):
            yield Finding(shown, 1, "version", f"{version} is no UTC time of 14 digits")
    stems = {path.stem for path in _files(project, "migrations")}
    for folder in _PAIRED:
        for path in _files(project, folder):
            if path.stem not in stems:
                yield Finding(
                    _shown(project, path), 1, "pair", f"there is no migration {path.stem}.sql"
                )
    yield from _order(project)


def lint_scripts(project: Project) -> Iterator[Finding]:
    """What each script says of transactions, and whether it can be read."""
    for folder in ("migrations", *_PAIRED):
        # Of somebody else's migrations, the CLI runs what they say.
        ours = is_ours(project) or folder != "migrations"
        for path in _files(project, folder):
            yield from _lint_script(path, _shown(project, path), in_one_transaction=ours)


def _lint_script(path: Path, shown: str, *, in_one_transaction: bool) -> Iterator[Finding]:
    try:
        script = read_script(path)
        if in_one_transaction:
            refuse_what_cannot_be_one_transaction(script)
    except UsageProblem as problem:
        at = _AT_LINE.search(problem.happened)
        line, said = (int(at[1]), at[2]) if at else (1, problem.happened)
        yield Finding(shown, line, "transaction" if at else "text", said.rstrip("."))
        return
    if all(statement.only_comment for statement in script.statements):
        yield Finding(shown, 1, "empty", "nothing in it is run")


def lint_pairs(project: Project) -> Iterator[Finding]:
    """Whether a migration of ours can be undone and verified, or says why not."""
    for migration in project.migrations:
        if migration.irreversible:
            continue
        for script, folder in ((migration.down, "rollbacks"), (migration.verify, "verify")):
            file = project.root / "supabase" / folder / f"{migration.stem}.sql"
            # One that is there and says nothing is told by itself.
            if script is None and not file.is_file():
                yield Finding(
                    _shown(project, migration.up.path),
                    1,
                    "pair",
                    f"supabase/{folder}/{migration.stem}.sql is missing"
                    " (or say why nothing can undo it: -- irreversible: …)",
                )


def _order(project: Project) -> Iterator[Finding]:
    """A new file must come after every one that others may have applied already."""
    done = subprocess.run(
        ["git", "-C", str(project.root), "ls-files", "-z", "--", "supabase/migrations"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    tracked = {Path(name).name for name in done.stdout.split("\0") if name}
    versions = [int(found[1]) for name in tracked if (found := _FILE_NAME.match(name))]
    newest = max(versions, default=0)
    for path in _files(project, "migrations"):
        found = _FILE_NAME.match(path.name)
        if found and path.name not in tracked and int(found[1]) < newest:
            yield Finding(
                _shown(project, path),
                1,
                "order",
                f"older than {newest}, which is in git: where that is applied, it is refused",
            )


def _files(project: Project, folder: str) -> list[Path]:
    return sorted((project.root / "supabase" / folder).glob("*.sql"))


def _shown(project: Project, path: Path) -> str:
    return path.relative_to(project.root).as_posix()
