"""Files that can't be one transaction: each step known, each resumable, the whole proven."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psycopg
import pytest

from pymilk.database.connection import connect
from pymilk.database.ledger import Kind, Outcome, latest, read_entries
from pymilk.deploy.basis.evidence import Blocked, Rehearsed
from pymilk.deploy.change.rollback import roll_back
from pymilk.deploy.change.script import ScriptFailed
from pymilk.deploy.change.transaction import standing as told_of
from pymilk.deploy.pipeline import deploy, rehearse, rehearse_all
from pymilk.deploy.survey.status import Standing, read_status
from pymilk.problem import Problem, TryAgainLater, UsageProblem
from pymilk.project.migrations import refuse_what_cannot_be_one_transaction
from pymilk.project.project import load_project
from support.commands import run, start
from support.databases import Database
from support.projects import GAP, Silent, Toy, closed_window, deploy_toy, schema_and_rows
from support.proxy import Cut, proxy
from support.sessions import wait_until_blocked, wait_until_gone

VERSION = GAP.partition("_")[0]
MARK = "-- pg-delta: transaction=false\n"
UP = (
    MARK
    + """
alter table public.bills add column settled_by text;
create index concurrently bills_by_payer on public.bills (settled_by);
create unique index concurrently words_once on public.marks (word);
"""
)
DOWN = """
drop index public.words_once;
drop index public.bills_by_payer;
alter table public.bills drop column settled_by;
"""


@pytest.fixture
def stepwise(shop: Database, toy: Toy) -> Toy:
    """A column, an index, and one that the live rows don't allow, which the copy can't know."""
    shop.connect(autocommit=True).execute("delete from public.marks")
    toy.gap(UP, DOWN, "select settled_by from public.bills;")
    return toy


def standing(database: Database, toy: Toy) -> tuple[Standing, str | None]:
    row = read_status(database.url, load_project(toy.root)).find(VERSION)
    return row.standing, row.half


def outcomes(database: Database) -> list[tuple[int | None, Outcome]]:
    with connect(database.url, purpose="test") as session:
        entries = read_entries(session)
    return [(entry.step, entry.outcome) for entry in entries if entry.kind is Kind.STEP]


def invalid_indexes(database: Database) -> int:
    found = (
        database.connect(autocommit=True)
        .execute("select count(*) from pg_index where not indisvalid")
        .fetchone()
    )
    assert found is not None
    return int(found[0])


def test_there_and_back(shop: Database, stepwise: Toy) -> None:
    before = schema_and_rows(shop)
    evidence = deploy_toy(stepwise.plan(shop))
    assert evidence.after is not None
    assert standing(shop, stepwise) == (Standing.APPLIED, None)
    assert outcomes(shop) == [
        (1, Outcome.DONE),
        (2, Outcome.BEGUN),
        (2, Outcome.DONE),
        (3, Outcome.BEGUN),
        (3, Outcome.DONE),
    ]
    with connect(shop.url, purpose="test") as session:
        deployed = latest(read_entries(session), Kind.DEPLOY, version=VERSION)
    assert deployed is not None
    assert deployed.plan_hash == evidence.plan_hash is not None
    roll_back(stepwise.plan(shop), archive=False)
    assert schema_and_rows(shop) == before
    assert standing(shop, stepwise) == (Standing.HELD, None)


def test_a_step_gives_way_and_names_who_is_in_the_way(shop: Database, stepwise: Toy) -> None:
    reader = shop.connect()
    reader.execute("select * from public.bills")
    plan = stepwise.plan(shop, policy={"lock_attempts": 2, "lock_timeout_ms": 50})
    with pytest.raises(TryAgainLater, match="in the way: process") as refused:
        deploy(plan, Silent())
    assert "nothing of it is there" in refused.value.state
    assert outcomes(shop) == []
    reader.rollback()
    deploy_toy(plan)


def test_a_limit_that_a_step_sets_holds_for_those_after_it(shop: Database, stepwise: Toy) -> None:
    stepwise.up(
        MARK + "set statement_timeout = '777ms';\n"
        "alter table public.bills add column settled_by text;\n"
        "alter table public.bills add column settled_in text;\n"
        "alter table public.bills add constraint in_time"
        " check (current_setting('statement_timeout') = '777ms');\n"
    )
    stepwise.down(
        "alter table public.bills drop constraint in_time, drop column settled_in,"
        " drop column settled_by;"
    )
    evidence = deploy_toy(stepwise.plan(shop))
    assert evidence.applied is not None
    assert evidence.applied.locked_seconds > 0
    assert evidence.applied.steps == 4


@pytest.mark.long
def test_a_step_that_fails_leaves_no_invalid_index_and_is_gone_on_from(
    shop: Database, stepwise: Toy
) -> None:
    before = schema_and_rows(shop)
    plan = stepwise.plan(shop)
    clerk = shop.connect(autocommit=True)
    watcher = shop.connect(autocommit=True)
    # A reader of old rows keeps the second index waiting; meanwhile what it can't have comes in.
    reader = shop.connect()
    with ThreadPoolExecutor(1) as pool:
        reader.execute("set transaction isolation level repeatable read")
        reader.execute("select * from public.marks")
        deploying = pool.submit(deploy, plan, Silent())
        wait_until_blocked(watcher, _building(watcher, "bills_by_payer"), timeout=60)
        clerk.execute("insert into public.marks values ('twice'), ('twice')")
        reader.rollback()
        with pytest.raises(ScriptFailed, match="words_once"):
            deploying.result(timeout=60)
    half = "half applied: step 2 of 3 done"
    assert standing(shop, stepwise) == (Standing.HALF, half)
    assert half in told_of(plan.target, VERSION)
    assert invalid_indexes(shop) == 0
    # Nothing else is deployed in its place, and it can't be rolled back from the middle.
    with pytest.raises(Problem, match="is half applied"):
        roll_back(plan, archive=False)
    clerk.execute("delete from public.marks")
    deploy_toy(stepwise.plan(shop))
    assert standing(shop, stepwise) == (Standing.APPLIED, None)
    roll_back(stepwise.plan(shop), archive=False)
    assert schema_and_rows(shop) == before


def _building(watcher: psycopg.Connection[tuple[object, ...]], index: str) -> int:
    """The process that builds an index, once it does."""
    query = (
        "select pid from pg_stat_activity where datname = current_database() and state = 'active'"
        " and query like %s and pid <> pg_backend_pid()"
    )
    deadline = time.monotonic() + 120
    while (row := watcher.execute(query, (f"%concurrently {index}%",)).fetchone()) is None:
        assert time.monotonic() < deadline, f"{index} was not seen being made"
        time.sleep(0.01)
    return int(str(row[0]))


@pytest.mark.long
def test_killed_while_an_index_is_made(shop: Database, stepwise: Toy) -> None:
    """It is left invalid, or the server finishes it alone: either way the next run knows."""
    reader, watcher = shop.connect(), shop.connect(autocommit=True)
    reader.execute("set transaction isolation level repeatable read")
    reader.execute("select * from public.marks")
    command = ("deploy", "001", "--policy", "local", "--db-url", shop.url)
    with start(*command, cwd=stepwise.root) as process:
        pid = _building(watcher, "bills_by_payer")
        wait_until_blocked(watcher, pid, timeout=60)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=20)
    watcher.execute("select pg_terminate_backend(%s)", (pid,))
    reader.rollback()
    wait_until_gone(watcher, pid)
    assert invalid_indexes(shop) == 1
    told = run("status", "--db-url", shop.url, cwd=stepwise.root).stdout
    assert "half applied: step 1 of 3 done, step 2 was begun" in told
    done = run(*command, cwd=stepwise.root)
    assert done.returncode == 0, done.stderr
    assert invalid_indexes(shop) == 0
    assert standing(shop, stepwise) == (Standing.APPLIED, None)


def rehearsed(toy: Toy, shop: Database) -> Rehearsed:
    evidence = rehearse(toy.plan(shop), Silent())
    assert evidence.rehearsal is not None
    return evidence.rehearsal


def test_whom_each_step_keeps_waiting_is_told(shop: Database, stepwise: Toy) -> None:
    stepwise.up(UP + "update public.notes set body = 'none' where body is null;")
    stepwise.down(DOWN + "update public.notes set body = null where body = 'none';")
    found = rehearsed(stepwise, shop)
    assert found.up.locked["public.bills"].blocks is Blocked.EVERYBODY
    assert found.up.locked["public.notes"].blocks is Blocked.ROW_WRITERS
    assert [one.blocks for one in found.up.statements] == [
        Blocked.EVERYBODY,
        Blocked.NOBODY,
        Blocked.NOBODY,
        Blocked.ROW_WRITERS,
    ]
    assert found.changed_tables == ("public.notes",)
    # Each lets go of its locks before the next begins.
    assert found.up.strong_lock_seconds == found.up.statements[0].held_seconds > 0


def test_what_a_statement_outside_of_transactions_locks_is_seen(
    shop: Database, stepwise: Toy
) -> None:
    grow = "insert into public.notes select n, repeat('x', 500) from generate_series(10, 40000) n;"
    shop.connect(autocommit=True).execute(grow)
    stepwise.gap(MARK + "\nvacuum full public.notes;", "select 1;")
    found = rehearsed(stepwise, shop)
    assert found.up.locked["public.notes"].mode == "AccessExclusiveLock"
    assert found.up.statements[0].blocks is Blocked.EVERYBODY
    assert found.up.rewritten == ("public.notes",)
    assert 0 < found.up.strong_lock_seconds <= found.up.seconds


def test_a_step_that_keeps_its_locks_too_long_is_refused(shop: Database, stepwise: Toy) -> None:
    stepwise.up(
        UP + "create function public.slow(integer) returns boolean language sql volatile as"
        " $$ select pg_sleep(0.1) is not null $$;\n"
        "alter table public.bills add constraint slow check (public.slow(id));"
    )
    stepwise.down(
        "alter table public.bills drop constraint slow; drop function public.slow;" + DOWN
    )
    before = schema_and_rows(shop)
    plan = stepwise.plan(shop, policy={"lock_held_ms": 300})
    with pytest.raises(Problem, match=r"strong locks would be held for \d+ ms"):
        deploy(plan, Silent())
    assert schema_and_rows(shop) == before


def test_what_a_rollback_kept_comes_back_with_the_steps(shop: Database, stepwise: Toy) -> None:
    deploy_toy(stepwise.plan(shop))
    session = shop.connect(autocommit=True)
    session.execute("update public.bills set settled_by = 'till' where id = 2")
    before = schema_and_rows(shop)
    kept = roll_back(stepwise.plan(shop), archive=True).kept
    assert [(one.kind, one.rows) for one in kept] == [("column", 1)]
    evidence = deploy_toy(stepwise.plan(shop))
    assert schema_and_rows(shop) == before
    assert evidence.applied is not None
    assert evidence.applied.given_back == {"public.bills": 1}
    assert not evidence.applied.left_in_archive


def test_steps_are_used_and_rolled_back_with_that_in_place(shop: Database, stepwise: Toy) -> None:
    stepwise.write("supabase/use", GAP, "update public.bills set settled_by = 'till';")
    used = rehearsed(stepwise, shop).used
    assert used.tables == ("public.bills",)
    assert [(one.kind, one.table, one.rows) for one in used.lost] == [("column", "public.bills", 4)]
    assert used.down_seconds is not None


def test_what_comes_after_steps_is_rehearsed_on_them(shop: Database, stepwise: Toy) -> None:
    after = "20250918000000_gap_002_after"
    stepwise.gap_at(after)
    plans = (stepwise.plan(shop), stepwise.plan(shop, "002"))
    found = [one.rehearsal for one in rehearse_all(plans, Silent())]
    assert [one.label for one in found if one] == ["GAP-001", "GAP-002"]


def test_steps_that_set_a_sequence_back_are_refused(shop: Database, stepwise: Toy) -> None:
    stepwise.up(UP + "select setval('public.bills_id_seq', 1);")
    with pytest.raises(Problem, match="sets sequences back"):
        rehearsed(stepwise, shop)


NAMELESS = MARK + "create unique index /* once */ concurrently -- no name\non public.marks (word);"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (MARK + "begin;\nselect 1;\ncommit;", "controls the transaction"),
        (UP.removeprefix(MARK), "can't run in a transaction"),
        (NAMELESS, "made concurrently needs a name"),
        (MARK + "set role authenticated;\nselect 1;", "a role that a step takes would go on"),
        (MARK + "set session authorization anon;", "a role that a step takes would go on"),
    ],
)
def test_what_is_refused_all_the_same(shop: Database, toy: Toy, text: str, why: str) -> None:
    toy.gap(text, "select 1;")
    with pytest.raises(Problem, match=why):
        deploy(toy.plan(shop), Silent())


@dataclass
class CutOff:
    """A deploy that was killed while it made its second step's index, and what came of it."""

    shop: Database
    toy: Toy

    def index(self) -> bool:
        """Whether the index is there."""
        found = self.shop.connect(autocommit=True).execute(
            "select to_regclass('public.bills_by_payer') is not null"
        )
        return found.fetchone() == (True,)


@pytest.fixture
def cut_off(shop: Database, stepwise: Toy) -> CutOff:
    """The second step is begun, says the ledger, and its session is gone."""
    reader, watcher = shop.connect(), shop.connect(autocommit=True)
    with ThreadPoolExecutor(1) as pool:
        reader.execute("set transaction isolation level repeatable read")
        reader.execute("select * from public.marks")
        deploying = pool.submit(deploy, stepwise.plan(shop), Silent())
        pid = _building(watcher, "bills_by_payer")
        wait_until_blocked(watcher, pid, timeout=60)
        watcher.execute("select pg_terminate_backend(%s)", (pid,))
        with pytest.raises(Problem, match="lost in step 2"):
            deploying.result(timeout=60)
    reader.rollback()
    assert outcomes(shop) == [(1, Outcome.DONE), (2, Outcome.BEGUN)]
    return CutOff(shop, stepwise)


def test_what_others_changed_meanwhile_is_no_sign_that_a_step_came_through(
    cut_off: CutOff,
) -> None:
    clerk = cut_off.shop.connect(autocommit=True)
    clerk.execute("comment on table public.notes is 'by hand'")
    plan = cut_off.toy.plan(cut_off.shop)
    with pytest.raises(Problem, match=r"\[drift\].*public.notes"):
        deploy(plan, Silent())
    assert not cut_off.index()
    clerk.execute("comment on table public.notes is null")
    deploy_toy(plan)
    assert cut_off.index()
    assert standing(cut_off.shop, cut_off.toy) == (Standing.APPLIED, None)


def test_a_step_that_came_through_unseen_is_done_and_what_others_changed_is_drift(
    cut_off: CutOff,
) -> None:
    clerk = cut_off.shop.connect(autocommit=True)
    clerk.execute("drop index public.bills_by_payer")
    clerk.execute("create index bills_by_payer on public.bills (settled_by)")
    clerk.execute("create index by_hand on public.notes (body)")
    plan = cut_off.toy.plan(cut_off.shop)
    with pytest.raises(Problem, match=r"\[drift\].*\+ index public.by_hand"):
        deploy(plan, Silent())
    clerk.execute("drop index public.by_hand")
    deploy_toy(plan)
    assert outcomes(cut_off.shop).count((2, Outcome.DONE)) == 1


def test_an_index_that_somebody_else_is_making_is_left_alone(cut_off: CutOff) -> None:
    others, in_the_way = cut_off.shop.connect(autocommit=True), cut_off.shop.connect()
    watcher = cut_off.shop.connect(autocommit=True)
    in_the_way.execute("update public.notes set body = 'x' where id = 1")
    with ThreadPoolExecutor(1) as pool:
        theirs = "create index concurrently theirs on public.notes (id)"
        making = pool.submit(others.execute, theirs)
        try:
            wait_until_blocked(watcher, _building(watcher, "theirs"), timeout=60)
            # It is drift for the while, and nothing worse; ours is gone.
            with pytest.raises(Problem, match=r"\[drift\].*theirs"):
                deploy(cut_off.toy.plan(cut_off.shop), Silent())
            assert not cut_off.index()
            assert invalid_indexes(cut_off.shop) == 1
        finally:
            in_the_way.rollback()
        making.result(timeout=60)
    assert invalid_indexes(cut_off.shop) == 0
    watcher.execute("drop index public.theirs")
    deploy_toy(cut_off.toy.plan(cut_off.shop))


def test_outside_of_the_window_nothing_is_cleaned_up_either(cut_off: CutOff) -> None:
    before = outcomes(cut_off.shop)
    with pytest.raises(Problem, match="outside the deployment window"):
        deploy(cut_off.toy.plan(cut_off.shop, policy=closed_window()), Silent())
    assert outcomes(cut_off.shop) == before
    assert invalid_indexes(cut_off.shop) == 1


def test_only_the_first_line_marks_it(toy: Toy) -> None:
    toy.up("-- why\n" + UP)
    script = toy.plan("postgresql://nowhere").migration.up
    assert not script.in_steps
    with pytest.raises(UsageProblem) as refused:
        refuse_what_cannot_be_one_transaction(script)
    assert MARK.strip() in refused.value.todo


def test_a_connection_that_is_lost_as_a_step_commits_loses_no_step(
    shop: Database, stepwise: Toy
) -> None:
    stepwise.up(UP.replace("alter table", "-- notify pgrst\nalter table"))
    with (
        proxy(shop.url, Cut.AFTER_COMMIT) as cut,
        pytest.raises(Problem, match="The connection was lost after step 1") as lost,
    ):
        deploy(stepwise.plan(cut.url), Silent())
    assert "half applied: step 1 of 3 done" in lost.value.state
    deploy_toy(stepwise.plan(shop))
    assert outcomes(shop).count((1, Outcome.DONE)) == 1
    assert standing(shop, stepwise) == (Standing.APPLIED, None)


def test_steps_that_ran_stay_and_those_after_them_may_be_mended(cut_off: CutOff) -> None:
    cut_off.toy.up(UP.replace("settled_by text", "settled_by varchar(20)"))
    with pytest.raises(Problem, match="steps that have run were edited") as refused:
        deploy(cut_off.toy.plan(cut_off.shop), Silent())
    assert refused.value.todo.startswith("Put its first 2 step(s) back")
    cut_off.toy.up(UP.replace("unique index", "index"))
    deploy_toy(cut_off.toy.plan(cut_off.shop))
    assert standing(cut_off.shop, cut_off.toy) == (Standing.APPLIED, None)


def test_steps_that_an_older_pymilk_ran_are_gone_on_with(cut_off: CutOff) -> None:
    # It noted the text of the file, and not of each step.
    with psycopg.connect(cut_off.shop.superuser_url) as session:
        session.execute("set session_replication_role = replica")
        session.execute("update pymilk.events set evidence = evidence - 'statement'")
    cut_off.toy.up(UP.replace("unique index", "index"))
    with pytest.raises(Problem, match="steps that have run were edited"):
        deploy(cut_off.toy.plan(cut_off.shop), Silent())
    cut_off.toy.up(UP)
    deploy_toy(cut_off.toy.plan(cut_off.shop))
    assert standing(cut_off.shop, cut_off.toy) == (Standing.APPLIED, None)


def test_what_is_half_applied_is_gone_on_with_unasked(cut_off: CutOff) -> None:
    where = ("--policy", "local", "--db-url", cut_off.shop.url)
    told = run("status", "--db-url", cut_off.shop.url, cwd=cut_off.toy.root).stdout
    assert "half applied: step 1 of 3 done, step 2 was begun" in told
    assert "the last run did not come to its end" in told
    refused = run("rollback", *where, cwd=cut_off.toy.root)
    assert "GAP-001 is half applied" in refused.stderr
    done = run("deploy", *where, cwd=cut_off.toy.root)
    assert done.returncode == 0, done.stderr
    assert "committed in 3 step(s); each held its locks for" in done.stdout
    assert standing(cut_off.shop, cut_off.toy) == (Standing.APPLIED, None)
