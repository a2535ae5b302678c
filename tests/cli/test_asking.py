"""Questions are put to the person, on stderr: what goes into a file is the result alone."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from pymilk.database.history import record_applied
from pymilk.project.migrations import find_migration
from pymilk.project.project import load_project
from support.commands import at_a_terminal
from support.databases import Database, Templates
from support.projects import GAP, Toy, deploy_toy, mark_baseline, toy, write_toy

__all__ = ["toy"]


@pytest.fixture
def shop(templates: Templates, tmp_path: Path) -> Iterator[Database]:
    """A live database with the toy's baseline, adopted."""
    with templates.clone("empty") as database:
        mark_baseline(database.url, write_toy(tmp_path / "adopted"))
        yield database


def read_question(process: subprocess.Popen[str], beginning: str) -> str:
    """What stands on stderr up to the question, which ends without a line."""
    assert process.stderr is not None
    said = ""
    while f"{beginning}? [y/N]:" not in said:
        character = process.stderr.read(1)
        assert character, f"it ended without asking: {said}"
        said += character
    return said


def answer(process: subprocess.Popen[str], typed: IO[bytes], word: str) -> tuple[str, str]:
    typed.write(word.encode() + b"\n")
    return process.communicate(timeout=60)


def test_a_deploy_is_agreed_to_on_stderr(shop: Database, toy: Toy) -> None:
    asked = ("deploy", "--json", "--db-url", shop.url)
    with at_a_terminal(*asked, cwd=toy.root) as (process, typed):
        shown = read_question(process, "Deploy GAP-001")
        printed, said = answer(process, typed, "n")
    assert "policy live" in shown  # the plan, as without --json
    assert "Not done." in said
    assert (process.returncode, printed) == (1, "")


def test_of_what_another_deployed_meanwhile_there_is_one_document(shop: Database, toy: Toy) -> None:
    project = load_project(toy.root)
    asked = ("deploy", "--all", "--json", "--db-url", shop.url)
    with at_a_terminal(*asked, cwd=toy.root) as (process, typed):
        read_question(process, "Deploy GAP-001")
        with shop.connect() as session:
            record_applied(session, find_migration(project.migrations, "001"))
        printed, said = answer(process, typed, "y")
    assert process.returncode == 0, said
    assert json.loads(printed) == [{"deployed": GAP, "evidence": None}]


def test_a_rollback_is_agreed_to_on_stderr(shop: Database, toy: Toy) -> None:
    deploy_toy(toy.plan(shop))
    asked = ("rollback", "--json", "--db-url", shop.url)
    with at_a_terminal(*asked, cwd=toy.root) as (process, typed):
        shown = read_question(process, "Roll back GAP-001")
        printed, said = answer(process, typed, "n")
    assert GAP in shown
    assert "Not done." in said
    assert printed == ""


def test_the_embedded_database_is_deleted_after_a_question_on_stderr(toy: Toy) -> None:
    with at_a_terminal("db", "reset", "--json", cwd=toy.root) as (process, typed):
        read_question(process, "Delete everything in the embedded database")
        printed, _ = answer(process, typed, "n")
    assert printed == ""


def test_what_only_people_know_is_asked_on_stderr(shop: Database, toy: Toy) -> None:
    with at_a_terminal("assess", "--db-url", shop.url, cwd=toy.root) as (process, typed):
        typed.write(b"\n" * 20)  # not sure of any
        printed, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "empty: not sure" in said
    assert "empty: not sure" not in printed
    assert "Strategy: " in printed
