"""The laws of ARCHITECTURE.md that the files themselves can break."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pymilk.project.migrations import load_migrations

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "pymilk"

# Each part may import those after it; `problem` may be imported by all of them.
FLOORS = ("cli", "demo", "testing", "generate", "report", "deploy", "database", "project")
# The same within pymilk/deploy: the flow itself, which may import all of them but the watch.
DEPLOY_FLOORS = ("watch", "rehearsal", "survey", "backup", "health", "change", "basis")
# What works with the client, and not only on the database.
CALLERS = {"cli", "testing", "generate"}
LONGEST = 400
# Written by `pymilk generate`, and read a function at a time.
GENERATED = {PACKAGE / "rpc" / "functions.py", PACKAGE / "rpc" / "refusals.py"}


def modules() -> list[Path]:
    """Every module of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def imported(module: Path) -> Iterator[str]:
    """What a module imports of ours: such as `rpc.client.Client` or `problem.Problem`."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative imports hide where something comes from"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.startswith("pymilk."):
                yield name.removeprefix("pymilk.")


@pytest.mark.parametrize("part", [*FLOORS, "rpc"])
def test_imports_point_one_way(part: str) -> None:
    below = FLOORS[FLOORS.index(part) + 1 :] if part in FLOORS else ()
    allowed = {part, *below, "problem"} if part != "rpc" else {"rpc"}
    allowed |= {"rpc"} if part in CALLERS else set()
    found = {
        f"{module.relative_to(ROOT)} imports {name}"
        for module in (PACKAGE / part).rglob("*.py")
        for name in imported(module)
        if name.split(".")[0] not in allowed
    }
    assert not found


@pytest.mark.parametrize("part", ["", *DEPLOY_FLOORS])
def test_imports_point_one_way_within_deploy(part: str) -> None:
    below = DEPLOY_FLOORS[DEPLOY_FLOORS.index(part) + 1 :] if part else DEPLOY_FLOORS[1:]
    flow = {module.stem for module in (PACKAGE / "deploy").glob("*.py")}
    allowed = {part, *below} if part else {*flow, *below}
    found = {
        f"{module.relative_to(ROOT)} imports {name}"
        for module in (PACKAGE / "deploy" / part).glob("*.py")
        for name in imported(module)
        if name.startswith("deploy.") and name.split(".")[1] not in allowed
    }
    assert not found


def test_every_part_is_on_a_floor() -> None:
    assert parts(PACKAGE) == {*FLOORS, "rpc"}
    assert parts(PACKAGE / "deploy") == set(DEPLOY_FLOORS)


def parts(folder: Path) -> set[str]:
    """The packages in a folder."""
    return {path.name for path in folder.iterdir() if (path / "__init__.py").is_file()}


@pytest.mark.parametrize(
    "module",
    [module for module in modules() if module not in GENERATED],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_a_module_can_be_read_in_a_sitting(module: Path) -> None:
    assert len(module.read_text(encoding="utf-8").splitlines()) <= LONGEST


def test_what_undoes_and_verifies_has_a_migration_of_its_stem() -> None:
    supabase = ROOT / "supabase"
    stems = {migration.stem for migration in load_migrations(supabase)}
    for folder in ("rollbacks", "verify", "give_back", "use"):
        assert {path.stem for path in (supabase / folder).glob("*")} <= stems


@pytest.mark.parametrize(
    "migration", load_migrations(ROOT / "supabase"), ids=lambda migration: migration.stem
)
def test_a_migration_can_be_undone_and_verified_or_says_why_not(migration: object) -> None:
    found = next(m for m in load_migrations(ROOT / "supabase") if m == migration)
    assert found.irreversible or (found.down and found.verify)
    assert found.use  # what people do with it, for the rehearsal


def test_a_migration_has_its_page_and_a_page_its_migration() -> None:
    made = [m for m in load_migrations(ROOT / "supabase") if not m.irreversible]
    pages = {f"gap_{m.gap}" if m.gap else m.name for m in made}
    assert pages == {path.stem for path in (ROOT / "docs" / "gaps").glob("*.md")}


def test_every_test_that_the_documents_name_is_there() -> None:
    named = {
        name
        for page in (ROOT / "README.md", ROOT / "ARCHITECTURE.md")
        for name in re.findall(r"`(tests/[^`]+)`", page.read_text(encoding="utf-8"))
    }
    assert len(named) > len(FLOORS)
    missing = set()
    for name in named:
        file, _, test = name.partition("::")
        path = ROOT / file
        if not path.exists() or (test and f" {test}" not in path.read_text(encoding="utf-8")):
            missing.add(name)
    assert not missing
