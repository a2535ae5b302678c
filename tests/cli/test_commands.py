"""The command line as a person meets it: help, exit codes, JSON, and no traceback ever."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pymilk.database.programs import find_programs
from support.commands import environment, run, start
from support.databases import Database, Templates
from support.projects import BASELINE, GAP, Toy, mark_baseline, toy, write_toy

__all__ = ["toy"]

COMMANDS = (
    ("deploy",),
    ("rollback",),
    ("rehearse",),
    ("plan",),
    ("backup",),
    ("restore-test",),
    ("restore",),
    ("status",),
    ("drift",),
    ("assess",),
    ("new",),
    ("lint",),
    ("history",),
    ("note",),
    ("report",),
    ("verify",),
    ("adopt",),
    ("snapshot",),
    ("db", "start"),
    ("db", "stop"),
    ("db", "url"),
    ("db", "reset"),
)


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run a line of Python in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )


@pytest.mark.parametrize(("arguments", "exit_code"), [(("--help",), 0), (("lint",), 2)])
def test_forked_or_started_it_is_the_same(
    arguments: tuple[str, ...], exit_code: int, tmp_path: Path
) -> None:
    forked = run(*arguments, cwd=tmp_path)
    with start(*arguments, cwd=tmp_path) as started:
        said = started.communicate(timeout=60)
    assert (forked.returncode, forked.stdout, forked.stderr) == (exit_code, *said)
    assert started.returncode == exit_code


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(command: tuple[str, ...], tmp_path: Path) -> None:
    done = run(*command, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "Example: " in done.stdout


def test_help_names_every_command(tmp_path: Path) -> None:
    told = run("--help", cwd=tmp_path).stdout
    assert all(f"\n  {command[0]} " in told for command in COMMANDS)
    assert "75" in told  # the exit codes are documented where one looks


def test_it_says_which_version_it_is(tmp_path: Path) -> None:
    done = run("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"pymilk {metadata.version('pymilk')}\n")


def test_help_waits_for_no_database_driver() -> None:
    done = python(
        "import sys; sys.argv = ['pymilk', '--help']; from pymilk.__main__ import main\n"
        "assert main() == 0\n"
        "slow = {'psycopg', 'pydantic', 'supabase', 'rich.console'} & set(sys.modules)\n"
        "assert not slow, slow"
    )
    assert done.returncode == 0, done.stderr


def test_nobody_waits_for_looks_among_what_stays() -> None:
    done = python(
        "import gc, sys; sys.argv = ['pymilk', '--help']; from pymilk.__main__ import main\n"
        "began = sum(stage['collections'] for stage in gc.get_stats())\n"
        "assert main() == 0\n"
        "looks = sum(stage['collections'] for stage in gc.get_stats()) - began\n"
        "assert looks <= 2, looks\n"  # it was 29, of loading alone
        "assert gc.get_freeze_count() > 10_000  # and none at the end"
    )
    assert done.returncode == 0, done.stderr


def test_nothing_to_do_loads_nothing_that_does_it() -> None:
    done = python(
        "import sys; from pymilk.cli import app, opening\n"
        "slow = {'pymilk.deploy.pipeline', 'pymilk.database.embedded', 'rich.console'}\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)"
    )
    assert done.returncode == 0, done.stderr


def test_a_deploy_loads_nothing_that_checks_the_types_of_what_nobody_said() -> None:
    done = python(
        "import sys; from pymilk.cli import app, opening, progress\n"
        "from pymilk.deploy import pipeline\n"
        "slow = {'pydantic', 'rich.console', 'tomlkit'}\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)"
    )
    assert done.returncode == 0, done.stderr


def test_the_thin_client_comes_without_the_toolkit() -> None:
    done = python(
        "import sys; import pymilk; pymilk.Client, pymilk.rpc, pymilk.errors\n"
        "heavy = {'click', 'rich', 'pydantic', 'pymilk.deploy', 'pymilk.database'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    assert done.returncode == 0, done.stderr


class TestBadInput:
    """One clear sentence, the state, what to do; exit 2 when the words were wrong, 1 otherwise."""

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("deploy", "777"), "There is no migration '777'"),
            (("rollback", "777"), "There is no migration '777'"),
            (("deploy", "001", "--policy", "bold"), "There is no policy 'bold'"),
            (("deploy", "001", "--override", "window"), "'window' is no override"),
            (("deploy", "001", "--override", "window="), "has no reason"),
            (("deploy", "001", "--override", "session=x"), "can't be overridden"),
            (("deploy", "001", "--override", "nonsense=x"), "can't be overridden"),
            (("deploy", "--nope"), "No such option"),
            (("nope",), "No such command"),
            (("assess", "--answer", "monitoring=perhaps"), "it is one of yes, no"),
            (("snapshot",), "Into which migration?"),
            (("snapshot", "pay"), "There is no folder sql/functions"),
            (("snapshot", "--check", "001"), "it takes no name"),
        ],
        ids=" ".join,
    )
    def test_wrong_words(
        self, arguments: tuple[str, ...], said: str, shop_url: str, toy: Toy
    ) -> None:
        done = run(*arguments, cwd=toy.root, extra={"SUPABASE_DB_URL": shop_url})
        self.is_told(done, 2, said)

    @pytest.mark.parametrize(
        ("url", "code", "said"),
        [
            ("postgresql://postgres:x@127.0.0.1:6543/postgres", 2, "transaction pooler"),
            ("not a url", 2, "can't be read"),
        ],
    )
    def test_databases_that_can_be_none(self, url: str, code: int, said: str, toy: Toy) -> None:
        self.is_told(run("deploy", "001", "--db-url", url, cwd=toy.root), code, said)

    def test_an_unreachable_database(self, toy: Toy) -> None:
        with socket.socket() as nobody:  # bound, and never listening
            nobody.bind(("127.0.0.1", 0))
            url = f"postgresql://postgres:secret@127.0.0.1:{nobody.getsockname()[1]}/postgres"
            done = run("status", "--db-url", url, cwd=toy.root)
        self.is_told(done, 1, "Can't connect")
        assert "secret" not in done.stderr + done.stdout

    def test_a_database_that_is_named_but_empty(self, toy: Toy) -> None:
        done = run("status", cwd=toy.root, extra={"SUPABASE_DB_URL": ""})
        self.is_told(done, 2, "SUPABASE_DB_URL is set, and empty")

    def test_no_project(self, tmp_path: Path) -> None:
        self.is_told(run("status", cwd=tmp_path), 2, "No project here")

    def test_live_without_a_terminal_wants_yes(self, shop_url: str, toy: Toy) -> None:
        done = run("deploy", "001", "--db-url", shop_url, cwd=toy.root)
        self.is_told(done, 2, "no terminal")
        assert "--yes" in done.stderr

    def test_a_missing_rollback(self, shop_url: str, toy: Toy) -> None:
        toy.down(None)
        extra = {"SUPABASE_DB_URL": shop_url}
        done = run("deploy", "001", "--policy", "local", cwd=toy.root, extra=extra)
        self.is_told(done, 1, f"supabase/rollbacks/{GAP}.sql")

    def test_an_edited_applied_migration(self, shop_url: str, toy: Toy) -> None:
        path = toy.root / "supabase" / "migrations" / f"{BASELINE}.sql"
        path.write_text(path.read_text() + "-- later thought\n")
        done = run("deploy", "001", "--policy", "local", "--db-url", shop_url, cwd=toy.root)
        self.is_told(done, 1, BASELINE)

    def test_a_database_that_is_read_only(self, shop_url: str, toy: Toy) -> None:
        with psycopg.connect(shop_url, autocommit=True) as session:
            name = session.info.dbname
            session.execute(f"alter database {name} set default_transaction_read_only = on")
        done = run("note", "customer 47 says so", "--db-url", shop_url, cwd=toy.root)
        self.is_told(done, 1, "cannot execute INSERT in a read-only transaction")
        assert "To do: Make room: enlarge the disk" in done.stderr

    @staticmethod
    def is_told(done: subprocess.CompletedProcess[str], code: int, said: str) -> None:
        assert done.returncode == code, done
        assert said in done.stderr
        assert "State: " in done.stderr
        assert "To do: " in done.stderr
        assert "Traceback" not in done.stderr


def test_a_snapshot_is_checked_taken_and_checked(tmp_path: Path) -> None:
    """Files alone: no server is started, and what CI has to know is in the exit code."""
    toy = write_toy(tmp_path)
    function = (
        "create or replace function public.owed(p_customer integer) returns numeric\n"
        "language sql as 'select 1.0';\ncomment on function public.owed is 'Something.';\n"
    )
    toy.write("sql/functions", "owed", function)
    done = run("snapshot", "--check", cwd=toy.root)
    assert done.returncode == 3, done
    assert "sql/functions/owed.sql: no migration quotes it" in done.stdout
    assert "To do: pymilk snapshot NAME" in done.stdout
    done = run("snapshot", "owed_again", "sql/functions/owed.sql", "--json", cwd=toy.root)
    assert done.returncode == 0, done
    taken = json.loads(done.stdout)
    assert taken["quoted"] == ["sql/functions/owed.sql"]
    assert run("snapshot", "--check", cwd=toy.root).returncode == 0
    again = run("snapshot", "owed_again", cwd=toy.root)
    assert (again.returncode, "nothing was written" in again.stdout) == (0, True)
    path = toy.root / "supabase" / "rollbacks" / f"{taken['migration']}.sql"
    path.write_text("select 1;\n")
    done = run("snapshot", "--check", "--json", cwd=toy.root)
    assert done.returncode == 1, done
    (finding,) = json.loads(done.stdout)["findings"]
    assert finding["kind"] == "wrong"
    assert not (toy.root / ".pymilk").exists()


@pytest.mark.long
def test_the_whole_way_in_json(shop_url: str, toy: Toy) -> None:
    """Each command gives one JSON document on stdout, and tells its progress on stderr."""

    def told(*arguments: str) -> dict[str, object]:
        done = run(*arguments, "--json", "--policy", "local", "--db-url", shop_url, cwd=toy.root)
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        assert isinstance(document, dict)
        return document

    assert "evidence" in told("rehearse", "001")
    planned = run("plan", "--calendar", "--json", "--db-url", shop_url, cwd=toy.root)
    assert planned.returncode == 3, planned.stderr
    assert [slot["migration"] for slot in json.loads(planned.stdout)["calendar"]] == ["GAP-001"]
    assert told("assess")["strategy"] == "backup + git branch"
    assert "evidence" in told("deploy")
    assert told("deploy", "001")["already"] is True
    assert told("verify")["verified"] == GAP
    assert told("rollback")["rolled_back"] == GAP
    assert told("rollback", "001")["already"] is True
    assert told("deploy")["deployed"] is None  # held: only when it is named
    noted = told("note", "customer 47 says the bill is wrong")["note"]
    told("note", "it is right", "--answer", str(noted))
    events = told("history")["events"]
    assert isinstance(events, list)
    deployed = next(event for event in events if event["kind"] == "deploy")
    whole = told("history", str(deployed["id"]))
    run_before = whole["run"]
    assert isinstance(run_before, list)
    assert [each["kind"] for each in run_before] == [
        *("backup", "restore-test", "rehearsal", "after")
    ]
    evidence = whole["evidence"][str(deployed["id"])]  # type: ignore[index]
    assert evidence["rehearsal"]["up_seconds"] > 0
    text = run("history", str(deployed["id"]), "--db-url", shop_url, cwd=toy.root).stdout
    assert f"{deployed['id']}: deploy {GAP}" in text
    assert "+ table public.receipts" in text
    rows = told("status")["status"]
    assert isinstance(rows, dict)
    assert [row["version"] for row in rows["rows"]] == [
        BASELINE.partition("_")[0],
        GAP.partition("_")[0],
    ]


class TestBackups:
    """Backup, restore test and restore, as a program reads them."""

    @pytest.mark.long
    def test_the_whole_way(self, shop_url: str, new_url: str, toy: Toy) -> None:
        def told(*arguments: str, code: int = 0) -> dict[str, Any]:
            done = run(*arguments, "--json", "--db-url", shop_url, cwd=toy.root)
            assert done.returncode == code, done.stderr
            document = json.loads(done.stdout)
            assert isinstance(document, dict)
            return document

        taken = told("backup")
        assert Path(taken["folder"], "manifest.json").is_file()
        assert told("restore-test")["proven"] is True
        reborn = told("restore", "--to", new_url)
        assert reborn["rows"] == taken["rows"]
        assert reborn["left"] == reborn["lacking_extensions"] == reborn["not_taken"] == []
        again = run("restore", "--to", new_url, "--db-url", shop_url, cwd=toy.root)
        TestBadInput.is_told(again, 2, "not empty")
        assert told("restore", "--table", "marks", "--yes")["tables"] == {"public.marks": 2}

    def test_over_live_rows_only_from_a_backup_that_is_named(self, shop_url: str, toy: Toy) -> None:
        folder = Path(
            json.loads(run("backup", "--json", "--db-url", shop_url, cwd=toy.root).stdout)["folder"]
        )
        over = ("--table", "customers", "--over", "--yes", "--json", "--db-url", shop_url)
        unnamed = run("restore", *over, cwd=toy.root)
        TestBadInput.is_told(unnamed, 2, f"the newest is {folder.name}")
        assert f"pymilk restore {folder.name} --table customers --over" in unnamed.stderr

    @pytest.mark.long
    def test_what_comes_back_of_a_file(self, shop_url: str, new_url: str, toy: Toy) -> None:
        """All of it is counted in the file, and compared after; half a file is refused."""
        file = toy.root / "theirs.dump"
        pg_dump = str(find_programs().path("pg_dump"))
        subprocess.run([pg_dump, "-Fc", f"--dbname={shop_url}", f"--file={file}"], check=True)
        done = run("restore-test", file.name, "--json", cwd=toy.root)
        assert (done.returncode, json.loads(done.stdout)["not_back"]) == (0, []), done.stderr
        done = run("restore", file.name, "--to", new_url, "--json", cwd=toy.root)
        assert done.returncode == 0, done.stderr
        reborn = json.loads(done.stdout)
        assert (reborn["backup"], reborn["not_taken"]) == (file.name, [])
        with psycopg.connect(new_url) as connection:
            assert connection.execute("select count(*) from public.bills").fetchone() == (4,)
        assert list((toy.root / ".pymilk").glob("file_*")) == []
        file.write_bytes(file.read_bytes()[:-400])
        done = run("restore-test", file.name, cwd=toy.root)
        assert (done.returncode, "Traceback" in done.stderr) == (1, False), done


@pytest.fixture
def new_url(templates: Templates) -> Iterator[str]:
    """An empty database."""
    with templates.clone("empty") as database:
        yield database.url


@pytest.fixture
def shop_url(empty_database: Database, toy: Toy) -> str:
    """The toy's database, adopted, before its gap."""
    mark_baseline(empty_database.url, toy)
    return empty_database.url
