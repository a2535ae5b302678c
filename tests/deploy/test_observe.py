"""What a script locks and rewrites is seen in the very statement that does it."""

from pathlib import Path

import pytest

from pymilk.deploy.basis.evidence import Blocked, ScriptRun
from pymilk.deploy.rehearsal.observe import followed_by, observe
from pymilk.project.migrations import Script
from support.databases import Database


def ran(database: Database, text: str) -> ScriptRun:
    """Run a script, and take it back."""
    with database.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute("select count(*) from public.customers")  # reading is no lock to tell of
        return observe(connection, Script(Path("migrations/one.sql"), text))


# Script → the table that it locks, how, and whom that blocks.
LOCKS = {
    "comment on table public.notes is 'n'": ("notes", "ShareUpdateExclusiveLock", Blocked.NOBODY),
    "insert into public.notes values (9)": ("notes", "RowExclusiveLock", Blocked.NOBODY),
    "delete from public.notes": ("notes", "RowExclusiveLock", Blocked.ROW_WRITERS),
    "create index on public.notes (body)": ("notes", "ShareLock", Blocked.WRITERS),
    "alter table public.notes add check (id > 0) not valid": (
        "notes",
        "AccessExclusiveLock",
        Blocked.EVERYBODY,
    ),
    "drop table public.marks": ("marks", "AccessExclusiveLock", Blocked.EVERYBODY),
    "create table public.a (b integer references public.customers (id))": (
        "customers",
        "ShareRowExclusiveLock",
        Blocked.WRITERS,
    ),
}


@pytest.mark.parametrize("text", LOCKS)
def test_whom_it_keeps_waiting(shop: Database, text: str) -> None:
    table, mode, blocks = LOCKS[text]
    found = ran(shop, text)
    assert {name: (one.mode, one.blocks) for name, one in found.locked.items()} == {
        f"public.{table}": (mode, blocks)
    }
    assert bool(found.strong_lock_seconds) == (blocks in {Blocked.WRITERS, Blocked.EVERYBODY})


def test_a_table_of_the_platform_counts_as_well(shop: Database) -> None:
    owner = shop.connect(user="supabase_admin", autocommit=True)
    owner.execute("create table auth.users (id integer primary key)")
    owner.execute("grant all on auth.users to postgres")
    found = ran(shop, "create table public.a (b integer references auth.users (id));")
    assert found.locked["auth.users"].blocks is Blocked.WRITERS


def test_which_statement_rewrites(shop: Database) -> None:
    found = ran(
        shop,
        "alter table public.notes add column a text;\n"
        "alter table public.notes alter column id type bigint;\n"
        "truncate public.marks;\n"
        "select 1;",
    )
    assert [one.rewrites for one in found.statements] == [
        (),
        ("public.notes",),
        ("public.marks",),
        (),
    ]


def test_a_lock_is_held_from_its_statement_to_the_commit(shop: Database) -> None:
    found = ran(
        shop,
        "select pg_sleep(0.05);\n"
        "create index on public.notes (body);\n"
        "select pg_sleep(0.02);\n"
        "alter table public.notes add column a text;\n"
        "select pg_sleep(0.01);\n"
        "insert into public.marks values ('late');",
    )
    steps = [dict(one.locks) for one in found.statements]
    assert steps == [
        {},
        {"public.notes": "ShareLock"},
        {},
        {"public.notes": "AccessExclusiveLock"},
        {},
        {"public.marks": "RowExclusiveLock"},
    ]
    seconds = [one.seconds for one in found.statements]
    assert found.seconds == pytest.approx(sum(seconds))
    assert found.locked["public.notes"].seconds == pytest.approx(sum(seconds[3:]))
    assert found.locked["public.marks"].seconds == pytest.approx(seconds[5])
    assert [(one.blocks, one.held_seconds) for one in found.statements] == [
        (Blocked.NOBODY, 0),
        (Blocked.WRITERS, pytest.approx(sum(seconds[1:]))),
        (Blocked.NOBODY, 0),
        (Blocked.EVERYBODY, pytest.approx(sum(seconds[3:]))),
        (Blocked.NOBODY, 0),
        (Blocked.NOBODY, 0),
    ]
    # Writers wait from the index on, whatever keeps readers waiting later.
    assert found.strong_lock_seconds == pytest.approx(sum(seconds[1:]))
    assert seconds[0] >= 0.05  # what pg_sleep was asked for, which nothing shortens


def test_what_follows_holds_the_locks_as_well(shop: Database) -> None:
    found = ran(shop, "create index on public.notes (body);")
    later = followed_by(found, 2)
    assert later.strong_lock_seconds == pytest.approx(found.strong_lock_seconds + 2)
    assert later.locked["public.notes"].seconds == pytest.approx(
        found.locked["public.notes"].seconds + 2
    )
    (index,) = later.statements
    assert index.held_seconds == pytest.approx(found.seconds + 2)
    assert followed_by(ran(shop, "select 1;"), 2).strong_lock_seconds == 0
