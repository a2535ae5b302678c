"""The client stands alone: nothing of the toolkit comes with it, and little with `pymilk`."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import pymilk

ROOT = Path(__file__).resolve().parents[2]
# psycopg_pool is the caller's, who hands a pool over; httpx comes with supabase.
DRIVERS = ("httpx", "psycopg", "psycopg_pool", "supabase")
CLIENT = sorted((Path(pymilk.__file__).parent / "rpc").glob("**/*.py"))


@pytest.mark.parametrize("module", CLIENT, ids=lambda path: path.stem)
def test_a_module_of_the_client_imports_only_the_client_and_its_drivers(module: Path) -> None:
    tree = ast.parse(module.read_text())
    imported = {
        name
        for node in ast.walk(tree)
        for name in (
            [each.name for each in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    foreign = {
        name
        for name in imported
        if not name.startswith(("pymilk.rpc", *DRIVERS))
        and name.partition(".")[0] not in sys.stdlib_module_names
    }
    assert foreign == set()


def test_calls_and_errors_are_described_without_a_database_driver() -> None:
    assert loaded_after("from pymilk import errors, rpc").isdisjoint(DRIVERS)


def test_a_driver_is_loaded_by_who_needs_it() -> None:
    clients = "from pymilk import AsyncClient, Client"
    assert loaded_after(clients).isdisjoint(DRIVERS)
    psycopg = loaded_after(f"{clients}; Client.postgres(''); AsyncClient.postgres('')")
    assert psycopg & {*DRIVERS} == {"psycopg"}


def test_it_is_installed_with_two_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {re.split(r"[\[>=<]", each)[0] for each in project["dependencies"]}
    assert named == {"psycopg", "supabase"}


def test_importing_pymilk_imports_nothing_else() -> None:
    assert {name for name in loaded_after("import pymilk") if "pymilk" in name} == {"pymilk"}


def test_the_client_is_there_by_its_short_names() -> None:
    assert {"AsyncClient", "Client", "errors", "rpc"} <= set(dir(pymilk))
    assert "pymilk.rpc.client" in loaded_after("import pymilk; pymilk.Client")
    assert "pymilk.rpc.functions" in loaded_after("import pymilk; pymilk.rpc.business_today()")
    assert "pymilk.rpc.errors" in loaded_after("import pymilk; pymilk.errors.Refusal")


def test_another_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        _ = pymilk.nothing


def loaded_after(program: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after it."""
    found = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(found.stdout.split())
