"""A database with tables and no history is taken into care: compared first, then marked."""

import pytest

from pymilk.database.ledger import read_entries
from pymilk.database.lookalike import DefaultPrivileges, make_supabase_shaped
from pymilk.deploy.adopt import Adopted, adopt
from pymilk.deploy.status import Standing, read_status
from pymilk.problem import Problem
from pymilk.project.migrations import load_migrations
from pymilk.project.project import load_project
from support.databases import Database
from support.projects import BASELINE, BASELINE_SQL, ROWS_SQL, Toy


def take(toy: Toy, url: str, reason: str | None = None) -> Adopted:
    plan = toy.plan(url)
    return adopt(plan.project, plan.target, plan.policy, reason)


def refused(toy: Toy, url: str) -> Problem:
    with pytest.raises(Problem) as refused:
        take(toy, url)
    assert refused.value.state.startswith("Nothing was changed")
    assert refused.value.todo
    return refused.value


def standings(toy: Toy, database: Database) -> list[Standing]:
    plan = toy.plan(database)
    return [row.standing for row in read_status(plan.target.url, plan.project).rows]


@pytest.mark.parametrize("privileges", DefaultPrivileges)
def test_a_database_that_is_the_baseline_is_marked(
    empty_database: Database, toy: Toy, privileges: DefaultPrivileges
) -> None:
    make_supabase_shaped(empty_database.superuser_url, privileges=privileges)
    session = empty_database.connect(autocommit=True)
    session.execute(BASELINE_SQL)
    session.execute(ROWS_SQL)
    assert standings(toy, empty_database) == [Standing.PENDING, Standing.PENDING]
    adopted = take(toy, empty_database.url)
    assert (adopted.version, adopted.name) == tuple(BASELINE.split("_", 1))
    assert adopted.differences == ()
    assert standings(toy, empty_database) == [Standing.APPLIED, Standing.PENDING]
    (row,) = session.execute(
        "select version, statements, name from supabase_migrations.schema_migrations"
    ).fetchall()
    (baseline, _) = load_migrations(toy.root / "supabase")
    statements = [statement.text for statement in baseline.up.statements]
    assert row == (adopted.version, statements, adopted.name)
    assert "there is nothing to adopt" in refused(toy, empty_database.url).happened


def test_a_difference_is_named_and_nothing_is_marked(empty_database: Database, toy: Toy) -> None:
    session = empty_database.connect(autocommit=True)
    session.execute(BASELINE_SQL)
    session.execute("alter table public.notes alter column body set not null; drop table marks")
    problem = refused(toy, empty_database.url)
    assert f"isn't the baseline {BASELINE}" in problem.happened
    assert "~ column public.notes.body" in problem.happened
    assert "- table public.marks" in problem.happened
    assert "--override drift=" in problem.todo
    schemas = session.execute(
        "select nspname from pg_namespace where nspname in ('pymilk', 'supabase_migrations')"
    )
    assert schemas.fetchall() == []
    adopted = take(toy, empty_database.url, "we know, and mean to mend it")
    assert "table public.marks" in adopted.differences
    (entry,) = read_entries(session)
    assert entry.evidence["reason"] == "we know, and mean to mend it"


def test_it_is_done_as_the_owner(empty_database: Database, toy: Toy) -> None:
    empty_database.connect(autocommit=True).execute(BASELINE_SQL)
    assert "is a superuser" in refused(toy, empty_database.superuser_url).happened


def test_a_baseline_that_cannot_be_made_says_why(empty_database: Database, toy: Toy) -> None:
    empty_database.connect(autocommit=True).execute(BASELINE_SQL)
    toy.up(f"{BASELINE_SQL}\nselect public.no_such_function();", stem=BASELINE)
    problem = refused(toy, empty_database.url)
    assert f"migrations/{BASELINE}.sql, line " in problem.happened
    assert "no_such_function" in problem.happened


def test_a_project_without_migrations_has_nothing_to_adopt_with(
    empty_database: Database, toy: Toy
) -> None:
    plan = toy.plan(empty_database)
    for path in (toy.root / "supabase" / "migrations").iterdir():
        path.unlink()
    fresh = load_project(toy.root)
    with pytest.raises(Problem, match="no migration to adopt with"):
        adopt(fresh, plan.target, plan.policy, None)
