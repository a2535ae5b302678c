"""What `make mutate` changes, and that what it explains is still there."""

import tomllib

import pytest

from mutation.edits import edits_of_code, edits_of_privileges, edits_of_tables
from mutation.mutants import mutants_of
from pymilk.project.migrations import load_migrations
from support.databases import ROOT

CODE = """\
-- a < b, in a comment
create or replace function private.f(p_a integer, p_b integer) returns integer
language plpgsql
as $$
declare
  v_sum integer := coalesce(p_a, 0) + p_b;
begin
  select max(x.y) into v_sum from public.x as x where x.id = p_a and x.y <> 'a < b'
  for no key update of x;
  if v_sum is distinct from p_b then
    raise exception using errcode = 'PT409', message = 'no';
  end if;
  if not found then
    v_sum := private.g(p_a, p_b);
  end if;
  update public.x set y = greatest(p_a, 1) where id >= p_b;
  return v_sum;
end;
$$;
"""

TABLES = """\
create table public.t (id integer not null unique (id), a integer check (a is not null));
alter table public.t enable row level security;
create unique index t_a on public.t (a);
create trigger r before update on public.t
for each row when (new.a > 0 and new.id = 1) execute function private.f();
"""


def test_code_is_changed_in_each_of_these_ways() -> None:
    found = [(edit.what, CODE[edit.start : edit.end], edit.new) for edit in edits_of_code(CODE)]
    assert found == [
        ("default", "coalesce(p_a, 0)", "(p_a)"),
        ("sign", "+", "-"),
        ("extreme", "max", "min"),
        ("comparison", "=", "<>"),
        ("comparison", "<>", "="),
        ("lock", "for no key update of x", ""),
        (
            "refusal",
            CODE[CODE.index("if v_sum") : CODE.index("  if not")].rstrip(),
            "",
        ),
        ("comparison", "distinct", "not distinct"),
        ("negation", "not", ""),
        ("arguments", "p_a, p_b", "p_b, p_a"),
        ("extreme", "greatest", "least"),
        ("comparison", ">=", ">"),
    ]


def test_tables_and_triggers_are_changed_in_each_of_these_ways() -> None:
    found = [(edit.what, TABLES[edit.start : edit.end]) for edit in edits_of_tables(TABLES)]
    assert [(what, text.split("\n")[0]) for what, text in found] == [
        ("statement", "create trigger r before update on public.t"),
        ("not null", "not null"),
        ("unique", "unique (id)"),
        ("check", "check (a is not null)"),
        ("row security", "enable"),
        ("unique", "unique"),
        ("condition", "new.a > 0 and"),
        ("condition", "and new.id = 1"),
        ("comparison", ">"),
        ("comparison", "="),
    ]


@pytest.mark.parametrize("word", ["grant", "revoke"])
def test_a_privilege_is_left_out(word: str) -> None:
    text = f"select 1;\n{word} all on public.t from x;\nselect 2;\n"
    (edit,) = edits_of_privileges(text)
    assert edit.of(text) == "select 1;\n\nselect 2;\n"


def test_every_mutant_that_is_explained_is_still_one() -> None:
    path = ROOT / "tests" / "mutation" / "explained.toml"
    said = tomllib.loads(path.read_text(encoding="utf-8")).get("equivalent", [])
    assert all(each["reason"] for each in said)
    keys = {mutant.key for mutant in mutants_of(load_migrations(ROOT / "supabase"))}
    assert {(each["file"], each["was"], each["becomes"]) for each in said} <= keys
