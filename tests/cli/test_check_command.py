"""`pymilk check`: for a person, for a program, and for whoever asks for its exit code."""

import json

import pytest

from support.commands import run
from support.databases import Database
from support.projects import Toy, mark_baseline, toy

__all__ = ["toy"]


@pytest.fixture
def shop(empty_database: Database, toy: Toy) -> Database:
    mark_baseline(empty_database.url, toy)
    return empty_database


def test_a_check_says_what_it_found(shop: Database, toy: Toy) -> None:
    on = ("check", "--db-url", shop.url)
    good = run(*on, cwd=toy.root)
    assert good.returncode == 0, good.stderr
    assert "1 of 1 invariants hold" in good.stdout
    shop.connect(autocommit=True).execute("update public.bills set paid = amount + 1")
    told = run(*on, "--rows", "1", cwd=toy.root)
    assert told.returncode == 3, told.stderr
    assert "4 rows" in told.stdout
    assert "and 3 more" in told.stdout
    toy.write("sql/invariants", "bad", "select nothing")
    failed = run(*on, "--json", "--rows", "1", cwd=toy.root)
    assert failed.returncode == 1
    assert "invariants/bad.sql, line 1" in failed.stderr
    bad, overpaid = json.loads(failed.stdout)["invariants"]
    assert "nothing" in bad["failure"]
    assert overpaid["rows"] == 4
    assert overpaid["examples"] == [{"id": "1", "amount": "100", "paid": "101"}]
