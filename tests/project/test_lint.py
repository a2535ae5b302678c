"""Each rule finds what it is for, on its line, and nothing in files that keep it."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pymilk.problem import UsageProblem
from pymilk.project.finding import Finding
from pymilk.project.lint_files import lint_names, lint_pairs, lint_scripts
from pymilk.project.lint_functions import lint_functions
from pymilk.project.linters import lint_with_others
from pymilk.project.migrations import load_migrations
from pymilk.project.new_migration import scaffold
from pymilk.project.project import load_project
from support.projects import GAP, Toy, toy

__all__ = ["toy"]

GOOD = """\
-- Pays a bill. Locks: the bill.
create or replace function public.pay(p_bill integer) returns integer
language plpgsql
volatile
security definer -- nobody else may write bills
set search_path = pg_catalog, pg_temp
as $$
begin
  -- lock
  perform from public.bills as b where b.id = p_bill for update;
  -- write
  update public.bills as b set paid = b.amount
  where b.id = p_bill;
  insert into public.marks as m (word) values ('x') on conflict do nothing;
  delete from public.notes as n where n.id in (select 1);
  -- check
  if not found then
    raise exception using errcode = 'PT404', message = 'bill_not_found';
  end if;
  return 1;
exception
  when unique_violation then
    raise exception using errcode = 'PT409', message = 'paid';
end;
$$;
comment on function public.pay(integer) is 'Pays.';
revoke all on function public.pay(integer) from public, anon;
"""

BAD = {
    "when-others": ("when unique_violation", "when others", 22),
    "dynamic-sql": ("return 1;", "execute 'select 1';", 20),
    "bare-raise": ("raise exception using errcode = 'PT404', message =", "raise exception", 18),
    "try-again": ("'PT404'", "'40001'", 18),
    "where": ("\n  where b.id = p_bill;", ";", 12),
    "definer": ("definer -- nobody else may write bills", "definer", 5),
    "search-path": ("set search_path = pg_catalog, pg_temp\n", "", 2),
    "header": ("language plpgsql\nvolatile", "volatile\nlanguage plpgsql", 2),
    "purpose": ("-- Pays a bill. Locks: the bill.\n", "", 1),
    "grants": ("revoke all on function public.pay(integer) from public, anon;\n", "", 2),
    "function-file": ("comment on function", "-- comment on function", 1),
}


def rules(findings: object) -> set[str]:
    """The rules that were broken."""
    assert isinstance(findings, list)
    return {finding.rule for finding in findings}


def functions_of(toy: Toy, text: str) -> list[Finding]:
    toy.write("sql/functions", "pay", text)
    found = list(lint_functions(load_project(toy.root)))
    return [finding for finding in found if not finding.rule.startswith("quotation")]


def test_a_good_function_breaks_no_rule(toy: Toy) -> None:
    assert functions_of(toy, GOOD) == []


@pytest.mark.parametrize("rule", BAD)
def test_each_rule_for_functions(toy: Toy, rule: str) -> None:
    good, bad, line = BAD[rule]
    assert good in GOOD
    (finding,) = functions_of(toy, GOOD.replace(good, bad, 1))
    assert (finding.rule, finding.line) == (rule, line)
    assert str(finding).startswith(f"sql/functions:1: {rule}: ") or str(finding).startswith(
        f"sql/functions/pay.sql:{line}: {rule}: "
    )


@pytest.mark.parametrize(
    "harmless",
    [
        "-- dynamic: names come from the catalog\n  execute 'select 1';",
        "-- when others\n  return 1;",
        "perform 'update public.bills set paid = 0';",
        "insert into public.marks values ('x') on conflict (word) do update set word = '';",
        "perform from public.bills for no key update;",
        "with gone as (delete from public.notes where id = 1 returning id) select 1 into p_bill;",
    ],
)
def test_what_only_looks_like_it_is_left_alone(toy: Toy, harmless: str) -> None:
    assert functions_of(toy, GOOD.replace("return 1;", harmless)) == []


def test_a_function_that_no_migration_quotes(toy: Toy) -> None:
    toy.write("sql/functions", "pay", GOOD)
    found = list(lint_functions(load_project(toy.root)))
    assert [(finding.rule, finding.file) for finding in found] == [
        ("quotation-waits", "sql/functions/pay.sql")
    ]


OURS = '[tool.pymilk]\nfunctions = "sql/functions"\n'


def files_of(toy: Toy) -> set[str]:
    project = load_project(toy.root)
    found = [*lint_names(project), *lint_scripts(project)]
    if "functions" in project.settings:
        found += lint_pairs(project)
    return {str(finding) for finding in found}


def test_the_toys_files_break_no_rule(toy: Toy) -> None:
    toy.settings(OURS)
    baseline = next((toy.root / "supabase/migrations").glob("*_baseline.sql"))
    baseline.write_text(f"-- irreversible: the beginning\n{baseline.read_text()}")
    assert files_of(toy) == set()


def test_names_versions_and_pairs(toy: Toy) -> None:
    toy.up("select 1;", stem="later")
    toy.up("select 1;", stem=f"{GAP.partition('_')[0]}_twin")
    toy.down("select 1;", stem="20250101000000_nobody")
    assert {found.partition(": ")[0] + found.split(": ")[1] for found in files_of(toy)} == {
        "supabase/migrations/later.sql:1name",
        f"supabase/migrations/{GAP.partition('_')[0]}_twin.sql:1version",
        "supabase/rollbacks/20250101000000_nobody.sql:1pair",
    }


def test_transactions_are_ours_to_begin(toy: Toy) -> None:
    toy.up("select 1;\nbegin;\nselect 2;\ncommit;")
    assert files_of(toy) == set()  # the Supabase CLI runs it as it is written
    toy.settings(OURS)
    assert any(f"{GAP}.sql:2: transaction: 'begin' controls" in found for found in files_of(toy))
    toy.down("vacuum;")
    assert any(f"rollbacks/{GAP}.sql:1: transaction: 'vacuum'" in found for found in files_of(toy))


def test_scripts_that_are_no_text_or_nothing(toy: Toy) -> None:
    toy.verify("-- to be written")
    (toy.root / "supabase" / "rollbacks" / f"{GAP}.sql").write_bytes(b"select '\xff';")
    kinds = {found.split(": ")[1] for found in files_of(toy)}
    assert kinds == {"empty", "text"}


def test_what_is_missing_is_asked_of_our_projects_alone(toy: Toy) -> None:
    toy.down(None)
    assert files_of(toy) == set()
    toy.settings(OURS)
    assert any(f"supabase/rollbacks/{GAP}.sql is missing" in found for found in files_of(toy))


def test_a_file_that_is_older_than_one_in_git(toy: Toy) -> None:
    for command in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", "-C", str(toy.root), *command], check=True)  # noqa: S607
    assert files_of(toy) == set()
    toy.gap_at("20250915000000_forgotten")
    (found,) = files_of(toy)
    assert "20250915000000_forgotten.sql:1: order: older than 20250917000000" in found


def test_other_linters_run_where_they_are_set_up(toy: Toy) -> None:
    toy.up("alter table public.bills add column b int not null;\n")
    said = lint_with_others(load_project(toy.root))
    assert said.found == ()
    assert [note.partition(" ")[0] for note in said.notes] == ["squawk", "sqlfluff"]
    (toy.root / ".squawk.toml").write_text('pg_version = "15.0"\n')
    said = lint_with_others(load_project(toy.root))
    file = f"supabase/migrations/{GAP}.sql"
    assert (file, 1, "squawk-adding-required-field") in {
        (found.file, found.line, found.rule) for found in said.found
    }


class TestNew:
    """The files of one stem, later than every other, and none in the place of another."""

    NOW = datetime(2025, 9, 20, 1, 2, 3, tzinfo=UTC)

    def test_they_are_there_and_known(self, toy: Toy) -> None:
        (toy.root / "docs" / "gaps").mkdir(parents=True)
        stem = "20250920010203_gap_002_later"
        assert scaffold(load_project(toy.root), "gap_002_later", self.NOW) == (
            f"supabase/migrations/{stem}.sql",
            f"supabase/rollbacks/{stem}.sql",
            f"supabase/verify/{stem}.sql",
            "docs/gaps/gap_002.md",
        )
        newest = load_migrations(toy.root / "supabase")[-1]
        assert newest.stem == stem
        assert newest.down is not None
        assert newest.verify is not None
        assert "is not written yet" in newest.verify.text

    def test_two_in_one_second_are_one_after_the_other(self, toy: Toy) -> None:
        scaffold(load_project(toy.root), "one", self.NOW)
        scaffold(load_project(toy.root), "two", self.NOW.replace(second=3))
        (last,) = load_migrations(toy.root / "supabase")[-1:]
        assert last.stem == "20250920010204_two"

    def test_it_is_later_than_a_file_from_the_future_and_still_a_time(self, toy: Toy) -> None:
        toy.gap_at("20251231235959_later")
        scaffold(load_project(toy.root), "after", self.NOW)
        assert load_migrations(toy.root / "supabase")[-1].stem == "20260101000000_after"

    @pytest.mark.parametrize(
        "name",
        ["Bad", "../x", "a b", "012", "gap_012", "", "x.sql", "gap_001_pay_bill", "gap_001_y"],
    )
    def test_names_that_are_none_or_taken(self, toy: Toy, name: str) -> None:
        before = sorted(toy.root.rglob("*"))
        with pytest.raises(UsageProblem) as refused:
            scaffold(load_project(toy.root), name, self.NOW)
        assert refused.value.state == "No file was written."
        assert sorted(toy.root.rglob("*")) == before


def test_the_scaffold_breaks_no_rule_but_that_it_is_to_be_filled_in(toy: Toy) -> None:
    written = scaffold(load_project(toy.root), "later", TestNew.NOW)
    assert {found.partition(":")[0] for found in files_of(toy)} == {
        path for path in written if Path(path).parent.name != "verify"
    }
