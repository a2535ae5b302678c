"""Rows that stand in a file for psql: refused before anything is touched, in steps as well."""

import pytest

from pymilk.deploy.basis.evidence import Verdict
from pymilk.deploy.survey.preflight import survey
from support.databases import Database
from support.projects import GAP, Toy

COPIED = "copy public.notes (id, body) from stdin;\n9\tnine\n\\.\n"


@pytest.mark.parametrize("mark", ["", "-- pg-delta: transaction=false\n"], ids=["one", "steps"])
def test_they_are_found_before_anything_is_touched(mark: str, shop: Database, toy: Toy) -> None:
    toy.up(mark + COPIED)
    (check,) = (one for one in survey(toy.plan(shop)).checks if one.name == "files")
    assert check.verdict is Verdict.FAILED
    assert f"migrations/{GAP}.sql, line {2 if mark else 1}: 'copy … from stdin'" in check.found
    assert "insert into … values" in check.todo
