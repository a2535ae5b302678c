"""A project: the folder with supabase/ in it, and what its pyproject.toml says about deploying."""

import os
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pymilk.problem import UsageProblem
from pymilk.project.migrations import (
    Migration,
    Script,
    load_migrations,
    misnamed_files,
    read_script,
)
from pymilk.project.policy import Policy, PolicyError, Preset, read_policy
from pymilk.project.whole_file import write_whole

_IGNORE_ALL = b"*\n"


@dataclass(frozen=True)
class Project:
    """One project on disk.

    Attributes:
        root: The folder that holds supabase/.
        settings: `[tool.pymilk]` of its pyproject.toml; empty when there is none.
    """

    root: Path
    settings: Mapping[str, object]

    @property
    def workspace(self) -> Path:
        """Where backups and the embedded database lie; git ignores it."""
        return self.root / ".pymilk"

    def make_workspace(self) -> Path:
        """Make the workspace, and keep it out of git: it holds names, phones and balances.

        Raises:
            OSError: It can't be made or written; the error names the file.
        """
        self.workspace.mkdir(exist_ok=True)
        ignored = self.workspace / ".gitignore"
        # One that a full disk left empty hides nothing: `git add -A` would take the backups.
        if not ignored.is_file() or ignored.read_bytes() != _IGNORE_ALL:
            write_whole(ignored, _IGNORE_ALL)
        return self.workspace

    @cached_property
    def migrations(self) -> tuple[Migration, ...]:
        """Every migration, oldest first."""
        return load_migrations(self.root / "supabase")

    @cached_property
    def misnamed(self) -> tuple[str, ...]:
        """SQL files among the migrations that nobody applies, because of their names."""
        return misnamed_files(self.root / "supabase")

    @cached_property
    def invariants(self) -> tuple[Script, ...]:
        """The queries whose every row is a violation."""
        return self._queries("invariants", "sql/invariants")

    @cached_property
    def state(self) -> tuple[Script, ...]:
        """The queries whose figures no deploy and no rollback may change (first column: key)."""
        return self._queries("state", "sql/state")

    @cached_property
    def daily(self) -> tuple[Script, ...]:
        """Queries that the app runs all day; a watch times them."""
        return self._queries("daily", "sql/daily")

    @cached_property
    def outcomes(self) -> tuple[Script, ...]:
        """Queries that count what clients report (first column: what, second: how often)."""
        return self._queries("outcomes", "sql/outcomes")

    @property
    def functions(self) -> str:
        """Where the function files lie, from the project's folder."""
        return str(self.settings.get("functions", "sql/functions")).strip("/")

    @property
    def critical(self) -> tuple[str, ...]:
        """The tables that `backup --critical` exports as CSV: names, in `public` unless qualified.

        Raises:
            UsageProblem: pyproject.toml says something that is no list of names.
        """
        named = self.settings.get("critical", [])
        if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
            raise UsageProblem(
                "pyproject.toml, [tool.pymilk], critical is no list of tables.",
                state="No database was touched.",
                todo='Write it as critical = ["payments", "customers"].',
            )
        return tuple(named)

    @cached_property
    def books(self) -> tuple[Script, ...]:
        """What `pymilk report --books` tells of the books: a table or a chart a query."""
        return self._queries("books", "sql/books")

    def policy(self, preset: Preset) -> Policy:
        """The policy of a kind of database: the preset, and what the project says over it.

        Raises:
            UsageProblem: pyproject.toml says something that is no policy.
        """
        asked = self.settings.get("policy", {})
        own = asked.get(preset.value, {}) if isinstance(asked, Mapping) else asked
        unknown = sorted(set(asked) - set(Preset)) if isinstance(asked, Mapping) else []
        if unknown:
            # A misspelt one would leave the live database with rules that nobody chose.
            raise UsageProblem(
                f"pyproject.toml, [tool.pymilk.policy.{unknown[0]}]: there is no such policy.",
                state="No database was touched.",
                todo=f"There are: {', '.join(Preset)}.",
            )
        try:
            if not isinstance(own, Mapping):
                raise UsageProblem(
                    f"pyproject.toml, [tool.pymilk.policy.{preset}] is not a table.",
                    state="No database was touched.",
                    todo="Mend that line; docs/policy.md lists what can be set.",
                )
            return read_policy(preset, own)
        except PolicyError as error:
            raise UsageProblem(
                f"pyproject.toml, [tool.pymilk.policy.{preset}], {error}.",
                state="No database was touched.",
                todo="Mend that line; docs/policy.md lists what can be set.",
            ) from error

    def _queries(self, setting: str, default: str) -> tuple[Script, ...]:
        folder = self.root / str(self.settings.get(setting, default))
        return tuple(read_script(path) for path in sorted(folder.glob("*.sql")))


def load_project(folder: Path) -> Project:
    """Find the project that `folder` lies in: the nearest folder above with supabase/ in it.

    Raises:
        UsageProblem: There is none, or its pyproject.toml can't be read.
    """
    start = folder.resolve()
    for root in (start, *start.parents):
        if (root / "supabase").is_dir():
            return Project(root, _settings(root / "pyproject.toml"))
    raise UsageProblem(
        f"No project here: neither {start} nor a folder above it has a supabase/ folder.",
        state="No database was touched.",
        todo="Go to the project's folder, or name it with --project.",
    )


def _settings(path: Path) -> Mapping[str, object]:
    if not path.is_file():
        return {}
    try:
        tool = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageProblem(
            f"{path} can't be read: {error}.",
            state="No database was touched.",
            todo="Mend that line.",
        ) from error
    settings = tool.get("pymilk", {}) if isinstance(tool, Mapping) else {}
    return settings if isinstance(settings, Mapping) else {}


@dataclass(frozen=True)
class Revision:
    """Where the project's files stand in git.

    Attributes:
        commit: The commit, or none outside git.
        uncommitted: Files under supabase/ or sql/ that differ from it.
        ignored: Of these, the project's own that git is told not to see.
        unknown: Why git wouldn't say, in its own words; none where it did, and outside git.
    """

    commit: str | None
    uncommitted: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    unknown: str | None = None


_NO_REPOSITORY = "not a git repository (or any"
_GIT_SECONDS = 20

# A line of `git status --porcelain=v2` by how it begins: changed, unmerged, untracked.
_FIELDS_BEFORE_PATH = {"1": 8, "u": 10, "?": 1}


def revision(project: Project) -> Revision:
    """What git says of the project's SQL."""
    # Ended by NUL, names stand as they are; otherwise git quotes those with blanks and accents.
    asked = ("status", "--porcelain=v2", "--branch", "-z", "--no-renames", "--", "supabase", "sql")
    try:
        lines = _git(project.root, *asked).split("\0")
    except _NoAnswer as problem:
        return Revision(None, (), unknown=problem.why)
    commit = next((line.split()[2] for line in lines if line.startswith("# branch.oid ")), None)
    paths = (line.split(" ", _FIELDS_BEFORE_PATH.get(line[:1], 0)) for line in lines)
    differing = (fields[-1] for fields in paths if fields[0] in _FIELDS_BEFORE_PATH)
    ignored = _ignored(project) if commit else ()
    return Revision(None if commit == "(initial)" else commit, (*differing, *ignored), ignored)


def _ignored(project: Project) -> tuple[str, ...]:
    """The project's own files that `git status` is silent about, because git ignores them."""
    asked = ("ls-files", "--others", "--ignored", "--exclude-standard", "-z", "--", "supabase")
    found = _git(project.root, *asked, "sql")
    if not found:
        return ()
    migrations = (script for migration in project.migrations for script in migration.scripts)
    own = {
        script.path.relative_to(project.root).as_posix()
        for script in (*migrations, *project.invariants, *project.state)
        if script.path.is_relative_to(project.root)
    }
    return tuple(path for path in found.split("\0") if path in own)


class _NoAnswer(Exception):  # noqa: N818 - that there is no git is no failure
    """Git has nothing to say.

    Attributes:
        why: Its own words; none where the project is in no repository.
    """

    def __init__(self, why: str | None) -> None:
        super().__init__(why)
        self.why = why


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],  # noqa: S607 - the user's own git
            capture_output=True,
            text=True,
            check=False,
            timeout=_GIT_SECONDS,
            # What it refuses is read, so it is to say it in one language.
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError as error:
        raise _NoAnswer("there is no program 'git' here") from error
    except subprocess.TimeoutExpired as error:
        raise _NoAnswer(f"git gave no answer within {_GIT_SECONDS} s") from error
    if done.returncode:
        said = " ".join(done.stderr.removeprefix("fatal: ").split())
        raise _NoAnswer(None if said.startswith(_NO_REPOSITORY) else said)
    return done.stdout.rstrip("\n")
