"""The queries of sql/daily and sql/outcomes are read as the invariants are: each by itself."""

import pytest

from pymilk.deploy.health.counters import read_outcomes
from pymilk.deploy.health.daily import time_daily
from pymilk.project.project import load_project
from support.databases import Database
from support.projects import Toy

GOOD = "select 'bills', count(*) from public.bills"
NO_QUERY = pytest.mark.parametrize(
    "text", ["", "\n", ";;", "-- nothing but words", "/* nor here */", "set work_mem = '1MB'"]
)
SEVERAL = "set work_mem = '1MB';\nselect 'none', 0;\n-- The last one.\nselect 'bills', 4;\n-- It."


@NO_QUERY
def test_a_daily_file_without_a_query_is_named_and_hides_no_other(
    shop: Database, toy: Toy, text: str
) -> None:
    toy.write("sql/daily", "a_bad", text)
    toy.write("sql/daily", "good", GOOD)
    timed = time_daily(shop.connect(autocommit=True), load_project(toy.root).daily)
    assert timed.failed == {"a_bad": "daily/a_bad.sql: it holds no query."}
    assert timed.seconds.keys() == {"good"}


@NO_QUERY
def test_an_outcomes_file_without_a_query_is_named_and_hides_no_other(
    shop: Database, toy: Toy, text: str
) -> None:
    toy.write("sql/outcomes", "a_bad", text)
    toy.write("sql/outcomes", "good", GOOD)
    read = read_outcomes(shop.connect(autocommit=True), load_project(toy.root).outcomes)
    assert read.lacking == {"outcomes/a_bad": "outcomes/a_bad.sql: it holds no query."}
    assert read.outcomes == {"good": {"bills": 4}}


def test_of_several_statements_the_last_one_is_the_query(shop: Database, toy: Toy) -> None:
    toy.write("sql/daily", "several", SEVERAL)
    toy.write("sql/outcomes", "several", SEVERAL)
    project, session = load_project(toy.root), shop.connect(autocommit=True)
    assert time_daily(session, project.daily).failed == {}
    read = read_outcomes(session, project.outcomes)
    assert (read.outcomes, read.lacking) == ({"several": {"bills": 4}}, {})


@pytest.mark.parametrize("folder", ["sql/daily", "sql/outcomes"])
def test_what_a_file_sets_does_not_outlive_it(shop: Database, toy: Toy, folder: str) -> None:
    toy.write(folder, "as_the_app", "set role anon; set search_path = pg_catalog; select 'a', 1")
    project, session = load_project(toy.root), shop.connect(autocommit=True)
    asked = "select current_user, current_setting('search_path')"
    before = session.execute(asked).fetchone()
    time_daily(session, project.daily)
    read_outcomes(session, project.outcomes)
    assert session.execute(asked).fetchone() == before


@pytest.mark.parametrize(
    ("often", "read_as"), [("1.0", 1), ("'2'", 2), ("null", None), ("'infinity'::float8", None)]
)
def test_how_often_is_a_number_or_said_not_to_be(
    shop: Database, toy: Toy, often: str, read_as: int | None
) -> None:
    toy.write("sql/outcomes", "some", f"select 'a', {often}")
    read = read_outcomes(shop.connect(autocommit=True), load_project(toy.root).outcomes)
    assert read.outcomes.get("some") == (None if read_as is None else {"a": read_as})
    told = {"outcomes/some": "its columns are not what and how often"}
    assert read.lacking == (told if read_as is None else {})
