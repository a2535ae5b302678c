"""Invariants are read in one snapshot, each by itself, and reading them changes nothing."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from pymilk.database.connection import Target, connect
from pymilk.deploy.health.invariants import Checked, check, head_of, read_checked
from pymilk.problem import UsageProblem
from pymilk.project.policy import Preset
from pymilk.project.project import load_project
from support.databases import ROOT, Database
from support.projects import Toy
from support.sessions import wait_until_blocked

BREAK = "update public.bills set paid = amount + 1 where id = 1"


def checked(database: Database, toy: Toy) -> Checked:
    return check(Target(database.url, Preset.LIVE), load_project(toy.root).invariants)


def test_each_row_is_told_with_what_it_means(shop: Database, toy: Toy) -> None:
    toy.write(
        "sql/invariants",
        "overpaid",
        "-- A bill is paid at most in full,\n-- by whoever.\n-- do: take the rest off;\n-- tell."
        '\nselect id, amount, paid as "was paid" from public.bills where paid > amount',
    )
    (holds,) = checked(shop, toy).invariants
    assert (holds.rows, holds.failure) == ((), "")
    shop.connect(autocommit=True).execute(BREAK)
    found = checked(shop, toy)
    (broken,) = found.violated
    assert broken.means == "A bill is paid at most in full, by whoever."
    assert broken.todo == "take the rest off; tell."
    assert broken.columns == ("id", "amount", "was paid")
    assert broken.rows == (("1", "100", "101"),)
    assert 0 < broken.seconds < found.held_seconds


def test_all_of_them_see_one_moment(shop: Database, toy: Toy) -> None:
    toy.write("sql/invariants", "a_slow", "select pg_advisory_lock_shared(7) where false or true")
    session, watcher = shop.connect(autocommit=True), shop.connect(autocommit=True)
    session.execute("select pg_advisory_lock(7)")
    queries = load_project(toy.root).invariants
    with connect(shop.url, purpose="test") as looking, ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_checked, looking, queries)
        wait_until_blocked(watcher, looking.info.backend_pid)
        watcher.execute(BREAK)
        session.execute("select pg_advisory_unlock(7)")
        first = reading.result(timeout=20)
        looking.execute("select pg_advisory_unlock_all()")
        again = read_checked(looking, queries)
        assert looking.info.transaction_status.name == "IDLE"
    assert [each.name for each in first.violated] == ["a_slow"]
    assert [each.name for each in again.violated] == ["a_slow", "overpaid"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("-- It means.\n\nselect nothing\nfrom public.bills", 'line 3: column "nothing"'),
        ("select 1;\nselect 1/0", "line 2: division by zero"),
        ("update public.bills set paid = 0 returning id", "read-only transaction"),
        ("-- nothing but words", "it holds no query"),
        ("set work_mem = '1MB'", "it holds no query"),
    ],
)
def test_one_that_cannot_be_run_is_named_and_hides_no_other(
    shop: Database, toy: Toy, query: str, said: str
) -> None:
    shop.connect(autocommit=True).execute(BREAK)
    toy.write("sql/invariants", "bad", query)
    found = checked(shop, toy)
    (failed,) = found.failed
    assert failed.failure.startswith("invariants/bad.sql")
    assert said in failed.failure
    assert [each.name for each in found.violated] == ["overpaid"]


def test_what_one_sets_reaches_no_other(shop: Database, toy: Toy) -> None:
    toy.write("sql/invariants", "a", "set search_path = pg_catalog; set role anon; select 1")
    toy.write("sql/invariants", "b", "select current_user, current_setting('search_path')")
    _, after, _ = checked(shop, toy).invariants
    ((user, path),) = after.rows
    assert user == "postgres"
    assert "public" in path


def test_no_invariants_are_no_good_news(shop: Database, toy: Toy) -> None:
    toy.write("sql/invariants", "overpaid", None)
    with pytest.raises(UsageProblem, match="no invariants"):
        checked(shop, toy)


def test_every_one_of_ours_says_what_it_means_and_what_to_do() -> None:
    for query in load_project(ROOT).invariants:
        means, todo = head_of(query)
        assert means.endswith((".", ")")), query.path.name
        assert todo.endswith("."), query.path.name
        # One sentence, to whoever has to do it: how it is asked is said in the query.
        assert ". " not in todo, query.path.name
        assert "absent" not in means, query.path.name
