"""What follows for a project from what its database and its files say, and when it can be done."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest

from pymilk.database.connection import Target
from pymilk.database.ledger import Event, Kind, record
from pymilk.deploy.health.calendar import lay_out
from pymilk.deploy.survey.assess import Assessment, assess
from pymilk.problem import UsageProblem
from pymilk.project.policy import Policy, Preset
from pymilk.project.project import load_project
from support.commands import run
from support.databases import Database
from support.projects import BASELINE_SQL, Toy

NIGHT = Policy(window_start=time(23), window_end=time(2), time_zone="Asia/Kolkata")


def assessed(
    toy: Toy, database: Database, told: Mapping[str, str] | None = None, policy: Policy = NIGHT
) -> Assessment:
    return assess(load_project(toy.root), Target(database.url, Preset.LIVE), policy, told or {})


def missing(found: Assessment) -> list[str]:
    return [measure.missing for measure in found.missing]


def test_rows_decide_for_a_backup_and_a_git_branch(shop: Database, toy: Toy) -> None:
    found = assessed(toy, shop, {"branching": "yes"})
    assert found.strategy == "backup + git branch"
    assert "it proves nothing about 12 rows" in found.reason
    assert found.risks["business goes on"]["branch"] == "only without 12 rows"
    assert missing(found)[:2] == ["restore never tested", "no backup of our own"]
    assert found.missing[0].todo == "run pymilk restore-test"


def test_a_proven_restore_is_read_from_the_ledger(shop: Database, toy: Toy) -> None:
    session = shop.connect(autocommit=True)
    for kind in (Kind.BACKUP, Kind.RESTORE_TEST):
        record(session, Event(kind, {}))
    found = assessed(toy, shop, {"platform_backups": "pitr", "monitoring": "yes"})
    assert found.risks["data are safe"]["backup + git branch"] == "restore proven"
    assert not {"restore never tested", "no backup of our own"} & set(missing(found))


def test_an_empty_database_may_take_a_branch(empty_database: Database, toy: Toy) -> None:
    empty_database.connect(autocommit=True).execute(BASELINE_SQL)
    assert assessed(toy, empty_database, {"branching": "yes"}).strategy == "branch"
    assert assessed(toy, empty_database).strategy == "backup + git branch"
    assert "not in care: its schema was never recorded" in missing(assessed(toy, empty_database))


def test_data_that_can_be_made_again_may_be_changed_directly(shop: Database, toy: Toy) -> None:
    assert assessed(toy, shop, {"data": "replaceable"}).strategy == "direct"


def test_answers_are_kept_and_what_nobody_says_is_unanswered(shop: Database, toy: Toy) -> None:
    toy.settings('[tool.pymilk.assess]\ndata = "critical"\n')
    answers = {answer.key: answer for answer in assessed(toy, shop).answers}
    assert (answers["data"].answer, answers["data"].source) == ("critical", "pyproject.toml")
    assert (answers["staging"].answer, answers["staging"].source) == (None, "unanswered")


def test_answers_go_into_pyproject_toml_and_are_not_asked_again(shop: Database, toy: Toy) -> None:
    """Without a terminal only with --yes; what was given counts either way."""
    toy.settings("# ours\n[tool.pymilk]\n")
    path = toy.root / "pyproject.toml"
    given = ("assess", "--answer", "monitoring=yes", "--json", "--db-url", shop.url)
    done = run(*given, cwd=toy.root)
    found = json.loads(done.stdout)
    assert found["kept"] == {}
    assert not any("nobody is known to watch" in each["missing"] for each in found["missing"])
    assert "Not kept: with --yes" in done.stderr
    assert path.read_text() == "# ours\n[tool.pymilk]\n"
    assert json.loads(run(*given, "--yes", cwd=toy.root).stdout)["kept"] == {"monitoring": "yes"}
    assert path.read_text().startswith("# ours\n[tool.pymilk]\n")
    assert load_project(toy.root).settings["assess"] == {"monitoring": "yes"}


@pytest.mark.parametrize("line", ['data = "so so"', 'colour = "red"'])
def test_an_answer_to_nothing_is_refused(shop: Database, toy: Toy, line: str) -> None:
    toy.settings(f"[tool.pymilk.assess]\n{line}\n")
    with pytest.raises(UsageProblem, match=line.split(maxsplit=1)[0]):
        assessed(toy, shop)


def test_weak_spots_of_this_project_are_named(shop: Database, toy: Toy) -> None:
    shop.connect(autocommit=True).execute(
        "create function public.weak() returns int security definer language sql as 'select 1';"
        "grant execute on function public.weak() to anon"
    )
    toy.down(None)
    found = missing(assessed(toy, shop, policy=Policy(soak_hours=0)))
    assert "no rollback: GAP-001" in found
    assert "no quiet window" in found
    assert "nothing soaks" in found
    assert any("definer functions: weak()" in each for each in found)
    assert any(each.endswith("row level security: customers, marks, notes") for each in found)


def test_the_calendar_lays_one_into_each_window(toy: Toy) -> None:
    pending = load_project(toy.root).migrations
    noon = datetime(2025, 9, 17, 6, 30, tzinfo=UTC)  # in Kolkata
    slots = lay_out([*pending, *pending], NIGHT, None, noon)
    assert [f"{slot.begins:%d %H:%M}" for slot in slots] == [
        "17 23:00",
        "18 23:00",
        "19 23:00",
        "20 23:00",
    ]
    assert all(slot.ends - slot.begins == timedelta(hours=3) for slot in slots)


def test_the_calendar_begins_now_in_an_open_window_and_soaks_past_its_end(toy: Toy) -> None:
    pending = load_project(toy.root).migrations
    late = datetime(2025, 9, 17, 20, 0, tzinfo=UTC)  # 01:30 in Kolkata
    long = replace(NIGHT, soak_hours=25)
    slots = lay_out(pending, long, None, late)
    assert [f"{slot.begins:%d %H:%M}" for slot in slots] == ["18 01:30", "19 23:00"]
