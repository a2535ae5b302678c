"""Plans on the command line: looked at, rehearsed and saved, approved, applied."""

import json
from pathlib import Path

import pytest

from support.commands import run
from support.databases import Database
from support.projects import GAP, Toy, mark_baseline, toy

__all__ = ["toy"]


@pytest.fixture
def shop(empty_database: Database, toy: Toy) -> Database:
    mark_baseline(empty_database.url, toy)
    return empty_database


@pytest.mark.long
def test_looked_at_rehearsed_and_applied_as_approved(
    shop: Database, toy: Toy, tmp_path: Path
) -> None:
    on = ("--db-url", shop.url, "--policy", "local")
    told = run("plan", *on, cwd=toy.root)
    assert told.returncode == 3, told.stderr
    assert f"supabase/migrations/{GAP}.sql" in told.stdout
    assert "never rehearsed as it is now" in told.stdout
    file = tmp_path / "plan.json"
    saved = run("rehearse", "001", "--save", str(file), "--json", *on, cwd=toy.root)
    assert saved.returncode == 0, saved.stderr
    assert json.loads(saved.stdout)["rehearsed"] == GAP
    again = json.loads(run("plan", "--json", *on, cwd=toy.root).stdout)
    assert again["pending"] == [GAP]
    assert again["plan"]["rehearsed"]["strong_lock_seconds"] > 0
    both = run("deploy", "--plan", str(file), "--override", "tree=x", *on, cwd=toy.root)
    assert both.returncode == 2
    assert "--override and --plan don't go together" in both.stderr
    done = run("deploy", "--plan", str(file), "--json", *on, cwd=toy.root)
    assert done.returncode == 0, done.stderr
    evidence = json.loads(done.stdout)["evidence"]
    assert evidence["plan_hash"] == json.loads(file.read_text())["hash"]
    nothing = run("plan", "--json", *on, cwd=toy.root)
    assert (nothing.returncode, json.loads(nothing.stdout)) == (0, {"pending": [], "misnamed": []})
    named = run("plan", "001", *on, cwd=toy.root)
    assert named.returncode == 0
    assert "deployed already" in named.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("rehearse", "001", "--all"), "NAME and --all don't go together"),
        (("rehearse", "--from-baseline", "--save", "x"), "--save and --from-baseline"),
        (("rehearse", "--backup", "nowhere"), "the migration has to be named"),
        (("deploy", "--all", "--plan", "x"), "--all and --plan don't go together"),
        (("deploy", "--plan", "nowhere.json"), "is no plan of pymilk"),
        (("plan", "--copy", "nonsense", "--db-url", "postgresql://x@127.0.0.1:1/x"), "'nonsense'"),
    ],
)
def test_what_cannot_be_meant(toy: Toy, arguments: tuple[str, ...], said: str) -> None:
    refused = run(*arguments, cwd=toy.root)
    assert refused.returncode == 2, refused.stderr
    assert said in refused.stderr
    assert refused.stdout == ""
