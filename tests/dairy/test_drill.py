"""The whole dairy from its baseline: every gap used at every stage, and the way back at night."""

import pytest

from pymilk.demo.first_day import prepare_first_day
from pymilk.deploy.basis.plan import CopyAt
from pymilk.deploy.rehearsal.drill import run_drill
from pymilk.project.project import load_project
from support.databases import ROOT


@pytest.mark.long
def test_every_gap_is_used_and_goes_and_comes_again() -> None:
    drill = run_drill(load_project(ROOT), CopyAt(), prepare_first_day, lambda _: None)
    assert drill.night.stays == ""
    assert (
        len(drill.night.rolled_back)
        == len(drill.rehearsed)
        == len(load_project(ROOT).migrations) - 1
    )
    assert [one.label for one in drill.rehearsed if not one.used.tables] == []
    assert drill.night.rows_kept > 100
    # Nothing that anybody did is among what the migrations write anew.
    assert {table for one in drill.rehearsed for table in one.used.rewritten} == set()
    assert drill.night.rewritten == ()
