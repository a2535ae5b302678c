"""Postgres itself looks at every function, on a scratch server, and says which line is wrong."""

from contextlib import nullcontext

import pytest

from pymilk.database.embedded import EmbeddedServer
from pymilk.deploy.survey.lint import lint
from pymilk.project.finding import Looked
from pymilk.project.project import load_project
from support.projects import GAP, UP_SQL, Toy

FUNCTION = """\
create function public.f(p_a integer) returns integer
language plpgsql
as $$
declare
  v_b integer;
begin
  {}
  return v_b;
end;
$$;
"""


def linted(toy: Toy, server: EmbeddedServer) -> Looked:
    return lint(load_project(toy.root), lambda: nullcontext(server))


def test_a_project_that_works_has_no_findings(toy: Toy, scratch_server: EmbeddedServer) -> None:
    looked = linted(toy, scratch_server)
    assert looked.found == ()
    # What was not looked at is said.
    assert [note.partition(" ")[0] for note in looked.notes][:2] == ["squawk", "sqlfluff"]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("declare v_b integer; begin v_b := 1; end;", 'variable "v_b" shadows'),
    ],
)
def test_what_the_compiler_says_has_its_file_and_line(
    toy: Toy, scratch_server: EmbeddedServer, statement: str, said: str
) -> None:
    text = UP_SQL + FUNCTION.format(statement)
    toy.up(text)
    (found,) = linted(toy, scratch_server).found
    line = text.count("\n", 0, text.index(statement)) + 1
    assert (found.file, found.rule) == (f"supabase/migrations/{GAP}.sql", "compile")
    assert found.line == line
    assert said in found.found


def test_bodies_that_were_never_looked_at_are_looked_at(
    toy: Toy, scratch_server: EmbeddedServer
) -> None:
    """Files that begin as pg_dump's do let everything pass."""
    toy.up("set check_function_bodies = off;\n" + UP_SQL + FUNCTION.format("v_b = = 1;"))
    (found,) = linted(toy, scratch_server).found
    assert found.rule == "compile"
    assert "syntax error" in found.found


def test_a_file_that_fails_is_named_and_the_others_are_looked_at(
    toy: Toy, scratch_server: EmbeddedServer
) -> None:
    toy.up("select 1;\nselect nothing();")
    looked = linted(toy, scratch_server)
    (found,) = looked.found
    assert (found.file, found.line) == (f"supabase/migrations/{GAP}.sql", 2)
    assert "nothing() does not exist" in found.found
    assert any(f"what {GAP} and later files make was not compiled" in n for n in looked.notes)


def test_two_files_of_one_version_are_told_before_anything_else(
    toy: Toy, scratch_server: EmbeddedServer
) -> None:
    toy.up("select 1;", stem=f"{GAP.partition('_')[0]}_twin")
    looked = linted(toy, scratch_server)
    assert {found.rule for found in looked.found} == {"version"}
