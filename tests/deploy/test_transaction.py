"""What is said of a change when the connection, or the server, is not what it was."""

import uuid
from contextlib import closing

import psycopg
import pytest

from pymilk.database.connection import Target, connect
from pymilk.deploy.basis.blockers import Blocker
from pymilk.deploy.basis.lock import only_deploy, other_deploy, session_of
from pymilk.deploy.change import transaction
from pymilk.deploy.change.transaction import all_or_nothing, standing
from pymilk.problem import Problem
from pymilk.project.policy import Preset
from support.databases import Database
from support.projects import GAP, Toy

VERSION = GAP.partition("_")[0]


def target(shop: Database) -> Target:
    return Target(shop.url, Preset.LOCAL)


def test_as_long_as_the_lost_session_may_commit_nothing_is_claimed(
    shop: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "_RECONNECT_SECONDS", 0.5)
    with only_deploy(target(shop), "deploy", 0) as lost:
        with pytest.raises(Problem, match="its session on the server hasn't ended") as told:
            transaction.committed(target(shop), uuid.uuid4(), session_of(lost))
        assert "Either all of it was committed or nothing" in told.value.state
        pid = session_of(lost)
    assert not transaction.committed(target(shop), uuid.uuid4(), pid)


def test_a_server_that_cuts_the_question_off_is_asked_again(
    shop: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def cut_once(connection: psycopg.Connection[tuple[object, ...]], lost: int) -> bool:
        asked.append(lost)
        if len(asked) == 1:
            connection.execute("select pg_terminate_backend(pg_backend_pid())")
        return False

    monkeypatch.setattr(transaction, "holds_deploy_lock", cut_once)
    assert not transaction.committed(target(shop), uuid.uuid4(), 1)
    assert len(asked) == 2


def test_what_the_server_stops_is_told_whatever_its_class(shop: Database, toy: Toy) -> None:
    plan = toy.plan(shop)

    def write(connection: psycopg.Connection[tuple[object, ...]], _token: uuid.UUID) -> None:
        connection.execute("set transaction read only")
        connection.execute("insert into public.marks values ('new')")

    with (
        connect(shop.url, purpose="test") as guard,
        pytest.raises(Problem, match="cannot execute INSERT in a read-only") as told,
    ):
        all_or_nothing(guard, plan.target, plan.policy, write)
    assert told.value.state == "Nothing was changed: the transaction was rolled back."


def test_a_connection_that_is_lost_before_the_commit_needs_no_ledger(
    shop: Database, toy: Toy
) -> None:
    plan = toy.plan(shop)

    def idle(connection: psycopg.Connection[tuple[object, ...]], _token: uuid.UUID) -> None:
        connection.execute("select pg_terminate_backend(pg_backend_pid())")

    with (
        closing(connect(shop.url, purpose="test")) as guard,
        pytest.raises(Problem, match="The connection was lost") as told,
    ):
        all_or_nothing(guard, plan.target, plan.policy, idle)
    assert told.value.state == "Nothing was changed: it was lost before the commit."


def test_how_it_stands_can_be_unknown(
    shop: Database, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "_STANDING_WAITS", "100ms")
    with shop.connect() as locking:
        locking.execute("lock table supabase_migrations.schema_migrations")
        told = standing(toy.plan(shop).target, VERSION)
    assert told.startswith("Unknown: canceling statement due to lock timeout. Run 'pymilk status'")
    assert "is not applied" in standing(toy.plan(shop).target, VERSION)


def test_sessions_that_our_role_may_not_look_at_are_told_all_the_same(shop: Database) -> None:
    with (
        only_deploy(target(shop), "deploy 001", 0) as guard,
        connect(shop.url, purpose="test") as session,
    ):
        assert str(other_deploy(session)).startswith("pymilk deploy 001 (process ")
        session.execute("set role anon")
        pid = session_of(guard)
        told = f"pymilk deploy 001 (process {pid} on the server, this role isn't shown since when)"
        assert other_deploy(session) == told
        seen = session.execute(
            "select pid, backend_type, application_name, usename, state, backend_start, query"
            " from pg_stat_activity where pid = %s",
            (pid,),
        ).fetchone()
        assert seen is not None
        assert str(Blocker(*seen)) == f"process {pid} (of postgres; ours isn't shown more)"
