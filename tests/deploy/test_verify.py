"""The canary at any time, beside customers whose series of calls is not yet at its end."""

import pytest

from pymilk.deploy.change.script import ScriptFailed
from pymilk.deploy.change.verify import verify_now
from support.databases import Database
from support.projects import Toy, schema_and_rows


def seen_by_look(database: Database, toy: Toy, failing: int) -> None:
    """A verification that fails in its first looks; a sequence counts them, rolled back or not."""
    database.connect(autocommit=True).execute("create sequence public.looks")
    toy.verify(
        f"do $$ begin if nextval('public.looks') <= {failing} then"
        " raise exception 'something is broken'; end if; end $$;"
    )


def looks(database: Database) -> int:
    row = database.connect().execute("select last_value from public.looks").fetchone()
    assert row is not None
    return int(row[0])


def test_what_was_broken_in_passing_is_gone_at_the_next_look(shop_001: Database, toy: Toy) -> None:
    seen_by_look(shop_001, toy, failing=1)
    before = schema_and_rows(shop_001)
    plan = toy.plan(shop_001)
    assert 0 < verify_now(plan.target, plan.migration) < 1  # seconds, of the look that counted
    assert looks(shop_001) == 2
    assert schema_and_rows(shop_001) == before


def test_what_each_look_finds_is_told(shop_001: Database, toy: Toy) -> None:
    seen_by_look(shop_001, toy, failing=99)
    plan = toy.plan(shop_001)
    with pytest.raises(ScriptFailed, match="something is broken"):
        verify_now(plan.target, plan.migration)
    assert looks(shop_001) == 3
