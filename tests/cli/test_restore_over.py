"""`restore --table … --over` as a person reads it: what is said to be back is back."""

import json
from pathlib import Path

import pytest

from support.commands import run
from support.databases import Database
from support.projects import Toy, mark_baseline, toy

__all__ = ["toy"]


@pytest.fixture
def shop(empty_database: Database, toy: Toy) -> Database:
    mark_baseline(empty_database.url, toy)
    return empty_database


@pytest.fixture
def backup(shop: Database, toy: Toy) -> str:
    taken = run("backup", "--json", "--db-url", shop.url, cwd=toy.root)
    return Path(json.loads(taken.stdout)["folder"]).name


def test_a_column_that_is_gone_is_named_and_no_row_is_said_to_be_as_it_was(
    backup: str, shop: Database, toy: Toy
) -> None:
    over = ("restore", backup, "--table", "customers", "--over", "--yes", "--db-url", shop.url)
    live = shop.connect(autocommit=True)
    done = run(*over, cwd=toy.root)
    assert done.returncode == 0, done
    assert done.stdout.endswith("Every row of the backup is there as it was.\n")

    live.execute("alter table public.customers rename column opening to opened")
    left_out = "public.customers:  not compared and not restored: opening (not in the live table)"
    done = run(*over, cwd=toy.root)
    assert done.returncode == 3, done
    assert "as it was" not in done.stdout
    assert left_out in done.stdout
    assert f"pymilk restore {backup} --table public.customers" in done.stdout
    told = json.loads(run(*over, "--json", cwd=toy.root).stdout)
    assert told == {
        "over": None,
        "left_out": {"public.customers": ["opening (not in the live table)"]},
    }

    live.execute("delete from public.bills; delete from public.customers where id = 2")
    done = run(*over, cwd=toy.root)
    assert done.returncode == 3, done
    assert "as it was" not in done.stdout
    assert done.stdout.count("not compared and not restored: opening") == 2  # before, and after
    assert "not in the backup, so as by default there: opened" in done.stdout
    assert "The state before: " in done.stdout
    row = live.execute("select name, opened from public.customers where id = 2").fetchone()
    assert str(row) == "('Bela', Decimal('0'))"
