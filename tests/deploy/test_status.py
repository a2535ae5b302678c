"""Where every migration stands, told from history, ledger and files."""

import pytest

from pymilk.cli.opening import Opened, migration_to_deploy, migration_to_roll_back, nothing_pending
from pymilk.cli.render import status_text
from pymilk.cli.render_plan import preview_text
from pymilk.database.connection import connect
from pymilk.database.ledger import Event, Kind, record
from pymilk.deploy.basis.lock import only_deploy
from pymilk.deploy.change.rollback import roll_back
from pymilk.deploy.preview import preview
from pymilk.deploy.survey.status import Standing, Status, read_status, standing_of
from pymilk.problem import TryAgainLater
from support.databases import Database
from support.projects import BASELINE, DOWN_SQL, GAP, UP_SQL, Toy

LATER = "20250918000000_gap_002_later"


def status(toy: Toy, database: Database) -> Status:
    plan = toy.plan(database, BASELINE)
    return read_status(plan.target.url, plan.project)


def standings(toy: Toy, database: Database) -> dict[str, Standing]:
    """Of all of them, and of each by itself: the two must agree."""
    rows = status(toy, database).rows
    found = {row.version: row.standing for row in rows}
    with connect(database.url, purpose="test") as connection:
        for migration in toy.plan(database, BASELINE).project.migrations:
            assert standing_of(connection, migration) is found[migration.version]
    return {row.name: row.standing for row in rows}


def opened(toy: Toy, database: Database) -> Opened:
    plan = toy.plan(database, BASELINE)
    return Opened(plan.project, plan.target)


def test_an_empty_database_has_everything_pending(empty_database: Database, toy: Toy) -> None:
    found = status(toy, empty_database)
    assert {row.standing for row in found.rows} == {Standing.PENDING}
    assert (found.running, found.unfinished, found.backup_at, found.restore_tested_at) == (
        *(None, None, None, None),
    )


def test_what_is_deployed_says_when_and_by_whom(shop_001: Database, toy: Toy) -> None:
    toy.gap_at(LATER)
    assert standings(toy, shop_001) == {
        "baseline": Standing.APPLIED,
        "gap_001_pay_bill": Standing.APPLIED,
        "gap_002_later": Standing.PENDING,
    }
    found = status(toy, shop_001)
    row = found.find(GAP.partition("_")[0])
    assert row.at is not None
    assert row.person is not None
    assert "@" in row.person
    assert found.backup_at is not None
    assert found.restore_tested_at is not None
    assert found.backup_at < found.restore_tested_at < row.at
    assert found.unfinished is None
    # The oldest pending goes next, the newest applied goes first.
    next_one = migration_to_deploy(opened(toy, shop_001), None)
    assert next_one is not None
    assert next_one.gap == "002"
    assert migration_to_roll_back(opened(toy, shop_001), None).gap == "001"


def test_what_was_rolled_back_is_held_until_it_is_named(shop_001: Database, toy: Toy) -> None:
    roll_back(toy.plan(shop_001), archive=False)
    assert standings(toy, shop_001)["gap_001_pay_bill"] is Standing.HELD
    assert migration_to_deploy(opened(toy, shop_001), None) is None
    assert "pymilk deploy 001" in nothing_pending(opened(toy, shop_001))
    named = migration_to_deploy(opened(toy, shop_001), "001")
    assert named is not None
    assert named.gap == "001"


def test_files_that_are_no_migrations_by_their_names_are_named(
    shop_001: Database, toy: Toy
) -> None:
    """Whoever wrote one waits for it, and would be told that all is well."""
    assert nothing_pending(opened(toy, shop_001)) == "Nothing is pending."
    for stem in ("fix_it", "20260201000000-hyphen"):
        toy.up("select 1;", stem=stem)
    (toy.root / "supabase" / "migrations" / "README.md").write_text("Not this one.")
    told = (
        "2 files in supabase/migrations are no migrations, by name: 20260201000000-hyphen.sql,"
        " fix_it.sql (a migration is called <14 digits>_<name>.sql)."
    )
    assert nothing_pending(opened(toy, shop_001)) == f"Nothing is pending. {told}"
    assert f"  {told}" in status_text("here", status(toy, shop_001))
    toy.up(None, stem="fix_it")
    toy.gap_at(LATER)
    found = preview(toy.plan(shop_001, "002"), ())
    assert any("is no migration, by name: 2026" in line for line in preview_text(found))


@pytest.mark.parametrize("table", ["supabase_migrations.schema_migrations", "pymilk.events"])
def test_whoever_has_locked_what_it_is_read_from_is_named(
    shop: Database, toy: Toy, table: str
) -> None:
    mending = shop.connect()
    mending.execute("set application_name = 'mending the history'")
    mending.execute(f"lock table {table}")
    pid = mending.info.backend_pid
    for ask in (
        lambda: status(toy, shop),
        lambda: migration_to_deploy(opened(toy, shop), None),
    ):
        with pytest.raises(TryAgainLater, match="where the migrations stand can't be") as later:
            ask()
        assert f"process {pid} (mending the history, postgres, idle in" in later.value.happened
        assert f"pg_terminate_backend({pid})" in later.value.todo
    mending.rollback()
    assert status(toy, shop).rows


def test_an_edited_file_and_one_that_is_missing(shop_001: Database, toy: Toy) -> None:
    toy.down(DOWN_SQL + "-- another rollback is no edit of what is applied\n")
    assert standings(toy, shop_001)["gap_001_pay_bill"] is Standing.APPLIED
    toy.up(UP_SQL + "-- but this is\n")
    assert standings(toy, shop_001)["gap_001_pay_bill"] is Standing.EDITED
    (toy.root / "supabase" / "migrations" / f"{GAP}.sql").unlink()
    assert standings(toy, shop_001)["gap_001_pay_bill"] is Standing.UNKNOWN


def test_what_the_supabase_cli_applied_is_told_by_its_statements(shop: Database, toy: Toy) -> None:
    toy.gap_at(LATER)
    shop.connect(autocommit=True).execute(
        "insert into supabase_migrations.schema_migrations (version, name, statements)"
        " values ('20250918000000', 'gap_002_later', '{select 1}')"
    )
    assert standings(toy, shop)["gap_002_later"] is Standing.APPLIED
    toy.up("select 2;", stem=LATER)
    assert standings(toy, shop)["gap_002_later"] is Standing.EDITED


def test_who_is_at_it_now_and_what_was_left(shop: Database, toy: Toy) -> None:
    plan = toy.plan(shop)
    with only_deploy(plan.target, "deploy 001", 0) as guard:
        record(guard, Event(Kind.BACKUP, {}, run=plan.run))
        running = status(toy, shop).running
        assert running is not None
        assert running.startswith(f"pymilk deploy 001 (process {guard.info.backend_pid} ")
    found = status(toy, shop)
    assert found.unfinished is not None
    assert found.unfinished.startswith("cut off after its backup, ")
    with connect(shop.url, purpose="test") as connection:
        record(connection, Event(Kind.BACKUP, {}))  # somebody's own, which is no run of a deploy
        record(connection, Event(Kind.REHEARSAL, {}, name="gap_001_pay_bill", run=plan.run))
    rehearsed = status(toy, shop).unfinished
    assert rehearsed is not None
    assert rehearsed.startswith("gap_001_pay_bill rehearsed, ")
