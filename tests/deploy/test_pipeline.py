"""The whole way in one piece: proven, applied, looked at, undone, and exactly as before."""

import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import psycopg
import pytest

from pymilk.database.dump import schema_text
from pymilk.database.ledger import read_entries, whole
from pymilk.database.programs import find_programs
from pymilk.deploy.backup.shelf import newest_backup
from pymilk.deploy.change.rollback import roll_back
from pymilk.deploy.pipeline import deploy, rehearse
from pymilk.problem import Problem, TryAgainLater
from support.databases import Database
from support.gate import WAIT, closed_gate, wait_until_at_the_gate
from support.projects import (
    DOWN_SQL,
    UP_SQL,
    Silent,
    Toy,
    deploy_toy,
    schema_and_rows,
)
from support.world import WORLD

PROGRAMS = find_programs()
STEPS = ["preflight", "backup", "restore test", "rehearsal", "apply", "after"]


def everything(database: Database) -> str:
    """Schema and rows in pg_dump's own words."""
    return schema_text(database.url, PROGRAMS, ["public", "shop"], data=True)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, for this test alone."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_deployed_and_undone_it_is_exactly_as_before(
    shop: Database, toy: Toy, temporary: Path
) -> None:
    before = everything(shop)
    watched = Silent()
    plan = toy.plan(shop)
    evidence = deploy(plan, watched)
    assert watched.steps == STEPS
    assert evidence is not None
    assert evidence.backup is not None
    assert evidence.restore_test is not None
    assert evidence.rehearsal is not None
    assert evidence.after is not None
    assert evidence.backup.previous is None
    folder = evidence.backup.backup.folder
    assert folder.is_relative_to(toy.root / ".pymilk" / "backups")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert newest_backup(plan.backups) == evidence.backup.backup
    assert evidence.restore_test.rows == sum(
        table.rows for table in evidence.backup.backup.contents.values()
    )
    api = shop.connect(role="authenticated", autocommit=True)
    assert api.execute("select public.owed(1)").fetchone() == (130,)
    assert everything(shop) != before
    roll_back(plan, archive=False)
    assert everything(shop) == before
    kinds = [str(entry.kind) for entry in read_entries(shop.connect())]
    assert kinds == ["adopt", "backup", "restore-test", "rehearsal", "deploy", "after", "rollback"]
    assert list(temporary.iterdir()) == []  # of the server that the copy was on


# A figure that can't be read by whoever keeps others waiting.
READ_WITHOUT_LOCKS = """\
select c.id, 1 / (
  select count(*) = 0 from pg_locks where pid = pg_backend_pid() and mode = 'AccessExclusiveLock'
)::integer
from public.customers as c;
"""


@pytest.mark.parametrize(
    ("up", "down"),
    [
        (
            "update public.notes set body = 'none' where id = 3;",
            "update public.notes set body = null where id = 3;",
        ),
        ("insert into public.receipts (bill_id, amount) values (1, 5);", ""),
    ],
    ids=["of an old table", "of a new one"],
)
def test_nobody_waits_for_figures_that_its_rows_are_no_part_of(
    shop: Database, toy: Toy, up: str, down: str
) -> None:
    toy.write("sql/state", "without_locks", READ_WITHOUT_LOCKS)
    toy.gap(UP_SQL + up, DOWN_SQL + down)
    applied = deploy_toy(toy.plan(shop)).applied
    assert applied is not None
    assert not applied.compared_inside


def test_figures_that_its_rows_are_part_of_are_compared_under_the_locks(
    shop: Database, toy: Toy
) -> None:
    toy.gap(
        UP_SQL + "update public.bills set note = null where id = 1;",
        DOWN_SQL + """update public.bills set note = '{"a": 1}' where id = 1;""",
    )
    toy.write("sql/state", "without_locks", READ_WITHOUT_LOCKS)
    with pytest.raises(Problem) as refused:
        deploy_toy(toy.plan(shop))
    assert "division by zero" in refused.value.happened
    toy.write("sql/state", "without_locks", None)
    applied = deploy_toy(toy.plan(shop)).applied
    assert applied is not None
    assert applied.compared_inside


def test_whose_prepared_select_it_breaks_is_told_and_nobody_elses(shop: Database, toy: Toy) -> None:
    plan, stays = toy.plan(shop), shop.connect(autocommit=True)
    stays.execute("prepare every_bill as select * from public.bills")
    stays.execute("prepare their_paid as select id, paid from public.bills")
    stays.execute("prepare every_note as select * from public.notes")
    evidence = deploy_toy(plan)
    assert evidence.rehearsal is not None
    assert evidence.rehearsal.reshaped == ("public.bills",)
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="cached plan must not change"):
        stays.execute("execute every_bill")
    stays.execute("execute their_paid")
    stays.execute("execute every_note")
    stays.execute("deallocate every_bill; prepare every_bill as select * from public.bills")
    roll_back(plan, archive=False)
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="cached plan must not change"):
        stays.execute("execute every_bill")


def test_a_rehearsal_changes_nothing_but_the_ledger(shop: Database, toy: Toy) -> None:
    before = everything(shop)
    watched = Silent()
    evidence = rehearse(toy.plan(shop), watched)
    assert watched.steps == STEPS[:4]
    assert evidence.applied is None
    assert everything(shop) == before
    kinds = [str(entry.kind) for entry in read_entries(shop.connect())]
    assert kinds == ["adopt", "backup", "restore-test", "rehearsal"]


def test_a_schema_with_something_of_every_kind_and_reasons_given(shop: Database, toy: Toy) -> None:
    superuser = shop.connect(user="supabase_admin", autocommit=True)
    superuser.execute("set role postgres")
    superuser.execute(WORLD)
    superuser.execute(
        "alter default privileges revoke execute on functions from public;"
        " insert into shop.goods (name) select i::text from generate_series(1, 9) as i;"
        " update public.bills set paid = 60 where id = 2"
    )
    before = everything(shop)
    plan = toy.plan(shop, overrides={"drift": "made by hand, and needed"})
    evidence = deploy_toy(plan)
    assert evidence.applied is not None
    assert evidence.applied.standing_violations == {"overpaid": 1}
    (entry,) = [entry for entry in read_entries(shop.connect()) if entry.kind == "deploy"]
    entry = whole(shop.connect(), entry)
    assert entry.evidence["overrides"] == {"drift": "made by hand, and needed"}
    assert entry.evidence["standing"] == {"overpaid": 1}
    # The drift was there before the deploy, so it belongs to what is restored.
    roll_back(toy.plan(shop), archive=False)
    assert everything(shop) == before


def test_while_customers_order(shop: Database, toy: Toy) -> None:
    """Orders come in all the time; the proof holds, and not one of them is lost."""
    stop = Event()

    def order() -> int:
        count = 0
        with psycopg.connect(shop.url, autocommit=True) as session:
            while not stop.is_set():
                session.execute("insert into public.bills (customer_id, amount) values (1, 1)")
                session.execute("update public.customers set opening = opening + 1 where id = 3")
                count += 1
        return count

    with ThreadPoolExecutor(1) as pool:
        ordering = pool.submit(order)
        try:
            deploy_toy(toy.plan(shop))
            roll_back(toy.plan(shop), archive=False)
        finally:
            stop.set()
        ordered = ordering.result(timeout=30)
    session = shop.connect(autocommit=True)
    row = session.execute(
        "select (select count(*) from public.bills), (select opening from public.customers"
        " where id = 3)"
    ).fetchone()
    assert row == (4 + ordered, 99 + ordered)


def test_a_second_deploy_at_once_waits_and_finds_it_done(shop: Database, toy: Toy) -> None:
    toy.up(UP_SQL + WAIT)
    watcher = shop.connect(autocommit=True)
    with ThreadPoolExecutor(2) as pool:
        with closed_gate(shop.url):
            first = pool.submit(deploy, toy.plan(shop), Silent())
            wait_until_at_the_gate(shop.url)
            hurried = toy.plan(shop, policy={"wait_for_other_deploy_seconds": 0})
            with pytest.raises(TryAgainLater, match="Another deploy is running") as later:
                deploy(hurried, Silent())
            assert "pymilk deploy 001 (process " in later.value.happened
            second = pool.submit(deploy, toy.plan(shop), Silent())
            wait_until_two_are_there(watcher)
        assert first.result(timeout=30) is not None
        assert second.result(timeout=30) is None
    kinds = [str(entry.kind) for entry in read_entries(watcher)]
    assert kinds.count("deploy") == 1


def wait_until_two_are_there(watcher: psycopg.Connection[tuple[object, ...]]) -> None:
    for _ in range(4000):
        row = watcher.execute(
            "select count(*) from pg_stat_activity where datname = current_database()"
            " and application_name = 'pymilk deploy 001'"
        ).fetchone()
        if row == (2,):
            return
        watcher.execute("select pg_sleep(0.005)")
    raise AssertionError("the second deploy was not seen")


@pytest.mark.long
def test_a_second_gap_goes_onto_the_first_and_off_again(shop: Database, toy: Toy) -> None:
    stem = "20250918000000_gap_002_tips"
    toy.up("create table public.tips (id integer primary key);", stem=stem)
    toy.down("drop table public.tips;", stem=stem)
    toy.verify("insert into public.tips values (1);", stem=stem)
    before = schema_and_rows(shop)
    deploy_toy(toy.plan(shop))
    first = schema_and_rows(shop)
    deploy_toy(toy.plan(shop, "002"))
    with pytest.raises(Problem, match="is not the newest: 20250918000000"):
        roll_back(toy.plan(shop), archive=False)
    roll_back(toy.plan(shop, "002"), archive=False)
    assert schema_and_rows(shop) == first
    roll_back(toy.plan(shop), archive=False)
    assert schema_and_rows(shop) == before


def test_a_backup_that_does_not_restore_stops_the_deploy(shop: Database, toy: Toy) -> None:
    """A value that the dump can't give back: a check that the row itself has broken since."""
    session = shop.connect(autocommit=True)
    session.execute(
        "create function public.limit_of() returns numeric language sql immutable as 'select 1e9';"
        " alter table public.bills add check (amount < public.limit_of());"
        " create or replace function public.limit_of() returns numeric language sql immutable"
        " as 'select 20'"
    )
    before = schema_and_rows(shop)
    watched = Silent()
    with pytest.raises(Problem, match="could not be restored") as failed:
        deploy(toy.plan(shop, overrides={"drift": "a test"}), watched)
    assert watched.steps == STEPS[:3]
    assert "bills_amount_check" in failed.value.happened
    assert failed.value.state.startswith("Nothing was changed")
    assert schema_and_rows(shop) == before
