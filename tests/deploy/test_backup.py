"""`backup` by itself, and which backups stay: nothing goes that may be needed."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from psycopg import conninfo

from pymilk.database.connection import Target, connect
from pymilk.database.ledger import read_entries
from pymilk.database.programs import find_programs
from pymilk.deploy.backup.backup import Taken, back_up
from pymilk.deploy.backup.restore_test import prove_and_record
from pymilk.deploy.backup.shelf import (
    Proof,
    find_backup,
    folders,
    keep_proof,
    outdated,
    proof_of,
    shelf_of,
    tidy,
)
from pymilk.deploy.basis.plan import Bench
from pymilk.problem import Problem, UsageProblem
from pymilk.project.policy import Policy, Preset
from pymilk.project.project import load_project
from support.databases import Database
from support.projects import BASELINE_SQL, Toy

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def taken(toy: Toy, database: Database, *critical: str) -> tuple[Taken, Target]:
    target = Target(database.url, Preset.LOCAL)
    return back_up(load_project(toy.root), target, find_programs(), critical=critical), target


def test_a_database_that_nobody_adopted_is_backed_up_and_left_alone(
    toy: Toy, empty_database: Database
) -> None:
    connection = empty_database.connect(autocommit=True)
    connection.execute(BASELINE_SQL)
    result, _ = taken(toy, empty_database, "bills", "sales")
    assert result.backup.critical == {"public.bills": 0}
    assert result.missing == ("public.sales",)
    assert "adopt" in result.unrecorded
    schemas = connection.execute("select 1 from pg_namespace where nspname ~ 'pymilk'")
    assert schemas.rowcount == 0


def test_the_ledger_hears_of_a_backup_and_of_its_restore_test(
    toy: Toy, shop: Database, bench: Bench
) -> None:
    result, target = taken(toy, shop)
    assert result.unrecorded == ""
    folder = result.backup.folder
    assert proof_of(folder) is None
    tested, unrecorded = prove_and_record(folder, bench, find_programs(), target)
    assert (tested.rows, unrecorded) == (result.backup.rows, "")
    assert (proof_of(folder) or pytest.fail("no proof")).rows == tested.rows
    with connect(shop.url, purpose="test") as connection:
        events = [(each.kind, each.evidence["folder"]) for each in read_entries(connection)[-2:]]
    assert events == [("backup", folder.name), ("restore-test", folder.name)]


def test_another_databases_ledger_does_not_hear_of_it(
    toy: Toy, shop: Database, bench: Bench
) -> None:
    result, _ = taken(toy, shop)
    other = Target("postgresql://postgres@127.0.0.1:1/postgres", Preset.LIVE)
    _, unrecorded = prove_and_record(result.backup.folder, bench, find_programs(), other)
    assert "was taken from" in unrecorded


def test_a_restore_test_works_when_the_database_is_gone(
    toy: Toy, shop: Database, bench: Bench
) -> None:
    result, target = taken(toy, shop)
    gone = replace(target, url=conninfo.make_conninfo(target.url, host="/nowhere"))
    with pytest.raises(Problem), connect(gone.url, purpose="test"):
        pass
    tested, unrecorded = prove_and_record(result.backup.folder, bench, find_programs(), gone)
    assert tested.rows == result.backup.rows
    assert unrecorded


class TestWhichStay:
    """The newest few, all of the last days, and the newest that was proven."""

    @pytest.fixture
    def shelf(self, tmp_path: Path) -> Path:
        for days in range(20):
            moment = NOW - timedelta(days=days, hours=1)
            folder = tmp_path / moment.strftime("%Y%m%dT%H%M%S.%fZ")
            folder.mkdir()
            (folder / "manifest.json").write_text("{}")
        return tmp_path

    def days(self, shelf: Path) -> list[int]:
        """How old in days each of those is that stay."""
        moments = [
            datetime.strptime(f"{each.name[:8]}+0000", "%Y%m%d%z") for each in folders(shelf)
        ]
        return sorted((NOW - each).days for each in moments)

    @pytest.mark.parametrize(
        ("newest", "days", "stay"),
        [(3, 0, 3), (3, 5, 5), (7, 5, 7), (1, 0, 1), (100, 0, 20), (1, 365, 20)],
    )
    def test_the_newest_few_and_all_of_the_last_days(
        self, shelf: Path, newest: int, days: float, stay: int
    ) -> None:
        policy = Policy(keep_backups=newest, keep_backups_days=days)
        tidy(shelf, policy, NOW)
        assert self.days(shelf) == list(range(stay))

    def test_the_newest_proven_one_always(self, shelf: Path) -> None:
        proven = folders(shelf)[4]
        for folder in folders(shelf)[2:5]:
            keep_proof(folder, Proof(NOW, 1.0, 5))
        tidy(shelf, Policy(keep_backups=2, keep_backups_days=0), NOW)
        assert folders(shelf) == (proven, *folders(shelf)[1:])
        assert len(folders(shelf)) == 3

    def test_what_is_not_ours_is_not_touched(self, shelf: Path) -> None:
        for name in ("notes", "20260101T000000Z", "19990101T000000.000000Z"):
            (shelf / name).mkdir()
        tidy(shelf, Policy(keep_backups=1, keep_backups_days=0), NOW)
        assert {path.name for path in shelf.iterdir()} >= {
            "notes",
            "20260101T000000Z",
            "19990101T000000.000000Z",  # without a manifest it may be anything
        }

    def test_a_removal_that_was_killed_is_finished(self, shelf: Path) -> None:
        half = shelf / f"{folders(shelf)[0].name}.removed"
        folders(shelf)[0].rename(half)
        (half / "manifest.json").unlink()
        assert tidy(shelf, Policy(keep_backups=30), NOW) == ()
        assert not half.exists()

    def test_nothing_is_outdated_where_there_is_one(self, tmp_path: Path) -> None:
        assert outdated([tmp_path / "20200101T000000.000000Z"], Policy(keep_backups=1), NOW) == ()


def test_taking_one_lets_old_ones_go_and_says_so(toy: Toy, shop: Database) -> None:
    toy.settings("[tool.pymilk.policy.local]\nkeep_backups = 1\nkeep_backups_days = 0\n")
    first, target = taken(toy, shop)
    second, _ = taken(toy, shop)
    assert second.previous == first.backup.taken_at
    assert second.removed == (first.backup.folder.name,)
    assert folders(shelf_of(load_project(toy.root), target)) == (second.backup.folder,)


class TestFindingOne:
    """By path, by name, by how it begins, or the newest whole one."""

    def test_ways(self, toy: Toy, shop: Database) -> None:
        result, target = taken(toy, shop)
        folder, shelf = result.backup.folder, shelf_of(load_project(toy.root), target)
        for name in (None, str(folder), folder.name, folder.name[:8], f"{folder}/manifest.json"):
            assert find_backup(shelf, name) == folder
        with pytest.raises(UsageProblem, match="There is no backup '1999'"):
            find_backup(shelf, "1999")

    def test_an_altered_one_is_not_the_newest(self, toy: Toy, shop: Database) -> None:
        first, target = taken(toy, shop)
        second, _ = taken(toy, shop)
        manifest = second.backup.folder / "manifest.json"
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "taken_from": "x"}))
        assert find_backup(shelf_of(load_project(toy.root), target), None) == first.backup.folder

    def test_none_names_those_of_other_databases(self, toy: Toy, shop: Database) -> None:
        result, _ = taken(toy, shop)
        shelf = result.backup.folder.parent.with_name("lost")
        with pytest.raises(UsageProblem, match="There is no backup in") as refused:
            find_backup(shelf, None)
        assert str(result.backup.folder) in refused.value.todo
