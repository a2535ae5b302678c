"""An extension in a schema of the project's own: the copy has both, as they were."""

import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest

from pymilk.database.connection import Target
from pymilk.database.dump import take_backup
from pymilk.database.embedded import EmbeddedServer
from pymilk.database.programs import find_programs
from pymilk.deploy.backup.restore_test import prove_restore
from pymilk.deploy.backup.restoring import restore_at
from pymilk.deploy.basis.plan import CopyAt
from pymilk.deploy.rehearsal.bench import open_bench
from pymilk.deploy.survey.adopt import adopt
from pymilk.project.policy import Policy, Preset
from pymilk.project.project import load_project
from support.databases import Database, Templates
from support.projects import Toy, deploy_toy

PROGRAMS = find_programs()
OWN = """
create schema tools;
grant usage on schema tools to authenticated;
comment on schema tools is 'Ours.';
create extension citext with schema tools;
create function tools.shout(p_word text) returns text language sql as 'select upper(p_word)';
create table public.emails (email tools.citext primary key);
insert into public.emails values ('A@b.c');
"""


@pytest.fixture
def own(shop: Database) -> Database:
    shop.connect(autocommit=True).execute(OWN)
    return shop


def test_it_comes_back_on_a_copy(own: Database, set_aside: CopyAt, tmp_path: Path) -> None:
    backup = take_backup(own.url, PROGRAMS, tmp_path / "one")
    with open_bench(set_aside, None, PROGRAMS.major) as bench:
        for _ in range(2):  # over what the first has left
            assert prove_restore(backup, bench, PROGRAMS).rows == backup.rows


def test_it_comes_back_in_a_new_project(
    own: Database, templates: Templates, tmp_path: Path
) -> None:
    backup = take_backup(own.url, PROGRAMS, tmp_path / "one")
    with templates.clone("empty") as new:
        reborn = restore_at(backup.folder, Target(new.url, Preset.LIVE), PROGRAMS)
        assert reborn.lacking == ()
        assert [each for each in reborn.differences if "supabase_admin" not in each] == []
        found = new.connect().execute("select email from public.emails")
        assert found.fetchall() == [("A@b.c",)]


def test_it_is_written_into_a_baseline(
    empty_database: Database, toy: Toy, scratch_server: EmbeddedServer
) -> None:
    empty_database.connect(autocommit=True).execute(OWN)
    shutil.rmtree(toy.root / "supabase" / "migrations")
    target, project = Target(empty_database.url, Preset.LOCAL), load_project(toy.root)
    adopted = adopt(project, target, Policy(), None, lambda: nullcontext(scratch_server))
    assert adopted.differences == ()


def test_a_project_with_one_deploys(own: Database, toy: Toy) -> None:
    evidence = deploy_toy(toy.plan(own, overrides={"drift": "tools of ours"}))
    assert evidence.applied is not None
