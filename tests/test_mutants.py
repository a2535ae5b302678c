"""What `make mutate` changes, and that what it explains is still there."""

import json
import os
import subprocess
import sys
import tomllib

import pytest

from mutation.edits import edits_of_code, edits_of_privileges, edits_of_tables
from mutation.mutants import mutants_of
from mutation.outcomes import Fate
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


# In a process of its own, as `make mutate` runs: trials fork.
TRIALS = """
import json
from mutation.mutants import mutants_of
from mutation.trial import Trial, try_all
from pymilk.project.project import load_project
from support.databases import ROOT

mutant = next(
    each for each in mutants_of(load_project(ROOT).migrations)
    if each.what == "comparison" and each.was == "where invoice.due_date < as_of - 90"
)
about, beside = (
    f"tests/dairy/test_outstanding.py::{name}"
    for name in ("test_ageing_counts_the_days_since_an_invoice_was_due", "test_nobody_else_may")
)
trials = [Trial(mutant, [about], 60.0), Trial(mutant, [beside], 60.0)]
print(json.dumps([(said.fate, said.killer) for _, said in try_all(trials, workers=1)]))
"""


@pytest.mark.long
def test_a_mutant_dies_of_a_test_that_is_about_it_and_of_no_other() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRIALS],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (noticed, killer), (unnoticed, nobody) = json.loads(done.stdout)
    assert (noticed, unnoticed, nobody) == (Fate.KILLED, Fate.SURVIVED, ""), done.stderr
    assert "test_ageing_counts_the_days" in killer
