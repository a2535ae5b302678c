"""`pymilk generate` at the command line, on projects of its own."""

import json
from pathlib import Path

import pytest

from support.commands import run

FUNCTION = """
create or replace function public.greet(p_name text default 'you') returns text
language sql as $$ select 'hello ' || p_name $$;

comment on function public.greet(text) is 'Says hello.';

revoke all on function public.greet(text) from public;
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one function, which no migration quotes yet."""
    (tmp_path / "supabase/migrations").mkdir(parents=True)
    (tmp_path / "supabase/migrations/20250101000000_begin.sql").write_text(
        "create table public.things (id int primary key);\n"
    )
    (tmp_path / "sql/functions").mkdir(parents=True)
    (tmp_path / "sql/functions/greet.sql").write_text(FUNCTION)
    (tmp_path / "pyproject.toml").write_text('[tool.pymilk.generate]\nmodule = "app/rpc.py"\n')
    return tmp_path


@pytest.mark.long
def test_a_new_function_file_appears_after_one_command(project: Path) -> None:
    stale = run("generate", "--check", cwd=project)
    assert stale.returncode == 3
    assert "pymilk generate" in stale.stdout

    written = run("generate", "--json", cwd=project)
    assert written.returncode == 0, written.stderr
    assert json.loads(written.stdout)["functions"] == 1
    module = (project / "app/rpc.py").read_text()
    assert "def greet(" in module
    assert 'name: str = "you"' in module

    assert run("generate", "--check", cwd=project).returncode == 0


def test_what_it_needs_to_know_is_asked_for(project: Path) -> None:
    (project / "pyproject.toml").write_text("")
    asked = run("generate", cwd=project)
    assert asked.returncode == 2
    assert "--module" in asked.stderr
    none = run("generate", "--module", "x.py", "--schema", "no", cwd=project)
    assert none.returncode == 2
    assert "no schema 'no'" in none.stderr


def test_a_file_that_fails_is_named(project: Path) -> None:
    (project / "supabase/migrations/20250102000000_next.sql").write_text("create tabel x ();\n")
    failed = run("generate", cwd=project)
    assert failed.returncode == 1
    assert "20250102000000_next.sql" in failed.stderr
