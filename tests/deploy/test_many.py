"""Several migrations in one go: on one copy, one deploy after the other, and the whole drill."""

from contextlib import nullcontext

import pytest

from pymilk.deploy.basis.plan import CopyAt
from pymilk.deploy.pipeline import deploy_all, rehearse_all, rehearse_backup
from pymilk.deploy.preview import preview
from pymilk.deploy.rehearsal.drill import Drill, run_drill
from pymilk.deploy.rehearsal.failed import RehearsalFailed
from pymilk.problem import Problem, TryAgainLater
from pymilk.project.project import Project, load_project
from support.databases import Database
from support.projects import BASELINE, GAP, Silent, Toy, deploy_toy, schema_and_rows

TIPS = "20250918000000_gap_002_tips"
USE = "select public.pay_bill(b.id, 1) from public.bills as b where b.amount > b.paid;"


@pytest.fixture
def two(toy: Toy) -> Toy:
    """The toy with a second gap that stands on the first."""
    toy.up(
        "create table public.tips (id bigint primary key references public.receipts);", stem=TIPS
    )
    toy.down("drop table public.tips;", stem=TIPS)
    toy.verify("select * from public.tips;", stem=TIPS)
    toy.write("supabase/use", GAP, USE)
    toy.write(
        "supabase/use",
        TIPS,
        "insert into public.tips select id from public.receipts on conflict do nothing;",
    )
    return toy


def test_rehearsed_one_after_the_other_on_one_copy(shop: Database, two: Toy) -> None:
    before = schema_and_rows(shop)
    watched = Silent()
    first, second = rehearse_all([two.plan(shop), two.plan(shop, "002")], watched)
    assert watched.steps.count("backup") == 1
    assert watched.steps.count("rehearsal") == 2
    assert first.rehearsal is not None
    assert second.rehearsal is not None
    assert second.rehearsal.before == first.rehearsal.after
    assert [one.table for one in second.rehearsal.used.lost] == ["public.tips"]
    assert schema_and_rows(shop) == before


def test_each_is_looked_at_before_the_first_is_begun(shop: Database, two: Toy) -> None:
    """What is wrong with the second must not be told after an hour with the first."""
    two.down(None, stem=TIPS)
    watched = Silent()
    with pytest.raises(Problem, match=f"no rollback, supabase/rollbacks/{TIPS}"):
        rehearse_all([two.plan(shop), two.plan(shop, "002")], watched)
    assert "backup" not in watched.steps
    later = "20250919000000_gap_003_later"
    two.gap_at(later)
    two.down("drop table public.tips;", stem=TIPS)
    with pytest.raises(Problem, match="GAP-002 comes first"):
        rehearse_all([two.plan(shop), two.plan(shop, "003")], watched)
    assert "backup" not in watched.steps


def test_deployed_one_after_the_other_until_one_is_refused(shop: Database, two: Toy) -> None:
    plans = [two.plan(shop), two.plan(shop, "002", policy={"soak_hours": 1})]
    going = deploy_all(plans, Silent(), lambda _: nullcontext())
    plan, evidence = next(going)
    assert plan is plans[0]
    assert evidence is not None
    with pytest.raises(TryAgainLater, match="has been watched for") as later:
        next(going)
    assert later.value.todo.endswith("Still pending: GAP-002.")


@pytest.mark.long
def test_on_a_backup_alone(shop: Database, two: Toy) -> None:
    evidence = deploy_toy(two.plan(shop))
    assert evidence.backup is not None
    folder = evidence.backup.backup.folder
    plan = two.plan("postgresql://nobody@nowhere.invalid/none")
    found = rehearse_backup(plan, folder, Silent())
    assert found.rehearsal is not None
    assert evidence.rehearsal is not None
    assert found.rehearsal.after == evidence.rehearsal.after
    with pytest.raises(RehearsalFailed, match="GAP-002 isn't next: 20250917000000"):
        rehearse_backup(
            two.plan("postgresql://nobody@nowhere.invalid/none", "002"), folder, Silent()
        )


def test_a_preview_says_what_would_happen_and_does_nothing(shop: Database, two: Toy) -> None:
    before = schema_and_rows(shop)
    found = preview(two.plan(shop), ("GAP-002",))
    assert found.ready
    assert found.files[0] == f"supabase/migrations/{GAP}.sql"
    assert found.later == ("GAP-002",)
    assert found.rehearsed is None
    assert not two.plan(shop).backups.exists()
    assert schema_and_rows(shop) == before
    refused = preview(two.plan(shop, "002"), ())
    assert not refused.ready
    rehearse_all([two.plan(shop)], Silent())
    again = preview(two.plan(shop), ())
    assert again.rehearsed is not None
    assert again.rehearsed.strong_lock_seconds > 0
    two.up("select 1;")
    assert preview(two.plan(shop), ()).rehearsed is None  # that was another text


class TestDrill:
    """All migrations from nothing, both ways, and the way back from the newest."""

    @staticmethod
    def run(toy: Toy) -> Drill:
        toy.write("supabase/use", BASELINE, ROWS)
        return run_drill(load_project(toy.root), CopyAt(), _no_demo, lambda _: None)

    @pytest.mark.long
    def test_all_the_way_back_with_everything_used(self, two: Toy) -> None:
        two.write("supabase", "seed", "insert into public.notes values (7, 'seeded');")
        drill = self.run(two)
        assert drill.first == BASELINE[:14]
        assert list(drill.night.rolled_back) == [TIPS, GAP]
        assert drill.night.rows_kept > 0
        assert drill.night.stays == ""
        assert drill.night.rewritten == ()
        assert all(one.used.tables for one in drill.rehearsed)

    @pytest.mark.long
    def test_it_goes_back_as_far_as_there_are_rollbacks(self, two: Toy) -> None:
        two.down(None)
        drill = self.run(two)
        assert list(drill.night.rolled_back) == [TIPS]
        assert drill.night.stays == f"{GAP} has no rollback"

    def test_what_only_the_way_back_shows(self, two: Toy) -> None:
        """Each goes and comes again by itself; together, one leaves the other no room."""
        two.write(
            "supabase/give_back",
            GAP,
            "delete from public.receipts where to_regclass('public.tips') is null;",
        )
        two.write("supabase/use", GAP, None)
        two.write("supabase/use", TIPS, USE)
        with pytest.raises(RehearsalFailed, match=r"Rolled back to the oldest.*public\.receipts"):
            self.run(two)


ROWS = """
insert into public.customers (id, name) select coalesce(max(c.id), 0) + 1, 'Used' from
public.customers as c;
insert into public.bills (customer_id, amount) select max(c.id), 10 from public.customers as c;
"""


def _no_demo(_url: str, _project: Project) -> None:
    """A project without a demo."""
