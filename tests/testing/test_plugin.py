"""The pytest plugin, as somebody's own suite meets it: in a pytest of its own."""

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from support.commands import environment

MIGRATION = """
create table public.things (id int primary key);
create function public.add_thing(p_id int) returns bigint language sql
as 'insert into public.things values (p_id); select count(*) from public.things';
"""
TESTS = """
import psycopg
import pytest
from pymilk.rpc import reading
from pymilk.rpc.call import Call, argument, given

def add(number):
    return Call(
        "add_thing", given(argument("p_id", "integer", number)), reading.value(reading.integer)
    )

@pytest.mark.parametrize("number", [1, 1, 2])
def test_each_begins_with_nothing(pymilk_client, number):
    assert pymilk_client.call(add(number)) == 1

def test_the_same_database_by_its_url(pymilk_client, pymilk_url):
    pymilk_client.call(add(7))
    with psycopg.connect(pymilk_url) as connection:
        assert connection.execute("select id from public.things").fetchall() == [(7,)]
        assert connection.execute("select current_user").fetchone() == ("postgres",)
        assert connection.execute("select to_regrole('authenticated')").fetchone() != (None,)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Somebody's project: a migration, and tests beside it."""
    folder = tmp_path / "backend" / "supabase" / "migrations"
    folder.mkdir(parents=True)
    (folder / "20250101000000_things.sql").write_text(MIGRATION)
    (tmp_path / "test_things.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\npymilk_project = backend\n")
    return tmp_path


def run_pytest(folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_test_gets_a_database_of_its_own_and_a_client_on_it(project: Path) -> None:
    done = run_pytest(project)
    assert "4 passed" in done.stdout, done.stdout + done.stderr


def test_pytest_finds_it_and_loads_nothing_for_it() -> None:
    (found,) = entry_points(group="pytest11", name="pymilk")
    assert found.value == "pymilk.testing.plugin"
    program = "import pymilk.testing.plugin, sys; print('psycopg' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
