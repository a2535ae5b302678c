"""What nobody verifies is called verified nowhere: in no check, no line, no report."""

import io

import pytest

from pymilk.cli.progress import LineProgress
from pymilk.deploy.basis.evidence import Verdict
from pymilk.deploy.change.verify import verify_now
from pymilk.deploy.pipeline import deploy
from pymilk.deploy.survey.preflight import survey
from pymilk.problem import Problem
from pymilk.project.lint_files import lint_pairs
from pymilk.project.project import load_project
from pymilk.report.deployment import read_deployment
from pymilk.report.page import Format, deployment_page
from pymilk.report.wording import wording_of
from support.databases import Database
from support.projects import GAP, Toy

REASON = {"verification": "none yet"}


@pytest.mark.parametrize("text", ["", "-- to be written\n"], ids=["empty", "comments"])
def test_a_file_that_says_nothing_is_no_verification(text: str, shop: Database, toy: Toy) -> None:
    toy.verify(text)
    (check,) = (one for one in survey(toy.plan(shop)).checks if one.name == "verification")
    assert check.verdict is Verdict.FAILED
    assert f"supabase/verify/{GAP}.sql has no statement in it" in check.found
    project = load_project(toy.root)
    # The linter tells of the file itself, and doesn't say of one that is there that it is missing.
    assert f"verify/{GAP}.sql is missing" not in str([*lint_pairs(project)])


@pytest.mark.parametrize("text", [None, "-- to be written\n"], ids=["no file", "comments"])
def test_deployed_without_it_nothing_is_said_to_be_verified(
    text: str | None, shop: Database, toy: Toy
) -> None:
    toy.verify(text)
    plan, said = toy.plan(shop, overrides=REASON), io.StringIO()
    assert deploy(plan, LineProgress(said)) is not None
    assert " s, not verified (" in said.getvalue()
    assert "nothing to verify" in said.getvalue()
    assert "canary" not in said.getvalue()
    with pytest.raises(Problem, match="has no verification"):
        verify_now(plan.target, plan.migration)
    project = load_project(toy.root)
    seen = read_deployment(plan.target, project, None, None)
    page = deployment_page(seen, project, wording_of(project), Format.MARKDOWN)
    assert "deployed and not verified in" in page
    assert "the change, no verification, the comparison" in page


def test_with_it_that_is_said(shop: Database, toy: Toy) -> None:
    said = io.StringIO()
    assert deploy(toy.plan(shop), LineProgress(said)) is not None
    assert " s, verified (" in said.getvalue()
    assert "the canary ran on the live database" in said.getvalue()
