"""A rollback of several: shown whole beforehand, newest first, and stopped before it began."""

import json
from collections.abc import Iterator

import psycopg
import pytest

from pymilk.deploy.foreseen import foresee, roll_back_each
from pymilk.deploy.survey.status import Standing, read_status
from pymilk.problem import Problem, Refused
from pymilk.project.migrations import find_migration
from pymilk.project.project import load_project
from support.commands import run
from support.databases import Database
from support.projects import GAP, Toy, copy_of, deploy_toy, schema_and_rows, write_toy

LATER = "20250918000000_gap_002_tips"
UP = """
create table public.tips (id int primary key);
create function public.tip(p_id int) returns void language sql
as 'insert into public.tips values (p_id)';
"""
DOWN = "drop function public.tip(int); drop table public.tips;"


def with_later(toy: Toy) -> Toy:
    toy.up(UP, stem=LATER)
    toy.down(DOWN, stem=LATER)
    toy.verify("select public.tip(1);", stem=LATER)
    return toy


@pytest.fixture(scope="module")
def _both(_toy_deployed: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with copy_of(_toy_deployed) as database:
        later = with_later(write_toy(tmp_path_factory.mktemp("both")))
        deploy_toy(later.plan(database, "002"))
        yield database


@pytest.fixture
def shop_002(_both: Database) -> Iterator[Database]:
    """The toy's database after both gaps."""
    with copy_of(_both) as database:
        yield database


@pytest.fixture
def later_toy(toy: Toy) -> Toy:
    return with_later(toy)


def standings(database: Database, toy: Toy) -> list[Standing]:
    return [row.standing for row in read_status(database.url, load_project(toy.root)).rows[1:]]


def arguments(*more: str, url: str, policy: str = "local") -> tuple[str, ...]:
    return ("rollback", *more, "--policy", policy, "--db-url", url)


def test_an_older_one_goes_after_the_newer_and_all_of_it_is_shown(
    shop: Database, shop_002: Database, later_toy: Toy
) -> None:
    done = run(*arguments("001", url=shop_002.url), cwd=later_toy.root)
    assert done.returncode == 0, done.stderr
    shown, _, happened = done.stdout.partition("is rolled back, in")
    assert shown.index(f"GAP-002  {LATER}") < shown.index(f"GAP-001  {GAP}")
    assert "goes: public.tip\n" in shown
    assert "goes: public.pay_bill\n" in shown
    assert "GAP-001 is rolled back" in happened
    assert standings(shop_002, later_toy) == [Standing.HELD, Standing.HELD]
    assert schema_and_rows(shop_002) == schema_and_rows(shop)


def test_as_json(shop_002: Database, later_toy: Toy) -> None:
    done = run(*arguments("001", "--json", url=shop_002.url), cwd=later_toy.root)
    told = json.loads(done.stdout)
    assert told["rolled_back"] == GAP
    assert told["result"]["functions_gone"] == ["public.pay_bill", "public.refuse_overpayment"]
    assert list(told["before_it"]) == [LATER]


def test_nobody_there_to_ask(shop_002: Database, later_toy: Toy) -> None:
    deployed = schema_and_rows(shop_002)
    done = run(*arguments("001", url=shop_002.url, policy="live"), cwd=later_toy.root)
    assert done.returncode == 2
    assert "GAP-002" in done.stdout
    assert "--yes" in done.stderr
    assert schema_and_rows(shop_002) == deployed


def test_rows_that_would_go_with_any_of_them_stop_all(shop_002: Database, later_toy: Toy) -> None:
    shop_002.connect(autocommit=True).execute("select public.pay_bill(1, 30)")
    deployed = schema_and_rows(shop_002)
    done = run(*arguments("001", url=shop_002.url), cwd=later_toy.root)
    assert done.returncode == 1
    assert "table public.receipts: 1 row(s)" in done.stderr
    assert "pymilk rollback 001 --archive" in done.stderr
    assert schema_and_rows(shop_002) == deployed
    done = run(*arguments("001", "--archive", url=shop_002.url), cwd=later_toy.root)
    assert done.returncode == 0, done.stderr
    assert standings(shop_002, later_toy) == [Standing.HELD, Standing.HELD]


def test_when_the_second_is_refused_the_first_is_said_to_be_gone(
    shop_002: Database, later_toy: Toy
) -> None:
    later_toy.down("select 1;")
    plans = tuple(later_toy.plan(shop_002, name) for name in ("002", "001"))
    with pytest.raises(Problem, match="doesn't restore the schema") as refused:
        list(roll_back_each(plans, archive=False, mended=True))
    assert "Rolled back before that, each whole: GAP-002" in refused.value.state
    assert standings(shop_002, later_toy) == [Standing.APPLIED, Standing.HELD]


def test_a_later_one_that_is_no_file_here(shop_001: Database, toy: Toy) -> None:
    shop_001.connect(autocommit=True).execute(
        "insert into supabase_migrations.schema_migrations (version) values ('20250930000000')"
    )
    project = load_project(toy.root)
    with pytest.raises(Refused, match="20250930000000 was applied after it"):
        foresee(toy.plan(shop_001).target, project, find_migration(project.migrations, "001"))


def test_what_can_be_seen_of_the_app_and_what_cannot(shop_001: Database, toy: Toy) -> None:
    project = load_project(toy.root)
    gap = find_migration(project.migrations, "001")
    target = toy.plan(shop_001).target
    quiet = foresee(target, project, gap)[0]
    assert quiet.functions == ("public.pay_bill", "public.refuse_overpayment")
    assert quiet.calls.seen == ()
    assert "last statement only" in quiet.calls.unseen[0]
    with psycopg.connect(shop_001.url, application_name="PostgREST", autocommit=True) as app:
        with pytest.raises(psycopg.errors.CheckViolation):  # so that there is nothing to keep
            app.execute('select * from "public"."pay_bill"("p_bill" := 1, "p_amount" := -3)')
        seen = foresee(target, project, gap)[0].calls.seen
        assert [(call.function, call.pid, call.application) for call in seen] == [
            ("public.pay_bill", app.info.backend_pid, "PostgREST")
        ]
        done = run(*arguments("001", url=shop_001.url, policy="live"), cwd=toy.root)
        assert "the app may still call it: public.pay_bill was called " in done.stdout
        # What only sounds like it is no call.
        app.execute("select 'pay_bill' as pay_bill_of, 1 as repay_bill")
        assert foresee(target, project, gap)[0].calls.seen == ()
