"""A disk that is full or only read: told in a sentence, and nothing of customers gets into git."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pymilk.project.project import load_project
from pymilk.project.whole_file import write_whole
from support.commands import environment, run
from support.databases import Database
from support.projects import GAP, Toy, mark_baseline, toy

__all__ = ["toy"]

# A process that may write no byte into any file: what a full disk is to it, for whoever runs tests.
_NO_ROOM = (
    "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0));"
    " from pymilk.__main__ import main; sys.exit(main())"
)
# A disk of its own, that no other process sees: full but for what is there, or only read.
_DISK = """\
set -e
mount -t tmpfs -o size=256k pymilk "$1"
cp -r "$2/." "$1"
if [ "$3" = full ]; then cat /dev/zero >"$1/filled" 2>/dev/null || true
else mount -o remount,ro "$1"; fi
cd "$1"
shift 3
exec "$@"
"""
_PYMILK = Path(sys.executable).with_name("pymilk")
_MOUNTING = ("unshare", "--map-root-user", "--mount", "sh", "-c")


def without_room(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `pymilk …` where nothing can be written."""
    return subprocess.run(
        [sys.executable, "-c", _NO_ROOM, *arguments],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def is_told(done: subprocess.CompletedProcess[str], *said: str) -> None:
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 1, done
    for words in (*said, "State: ", "To do: "):
        assert words in done.stderr


def seen_by_git(root: Path) -> str:
    """What `git add -A` would take of the project's workspace."""
    git = ["git", "-C", str(root)]
    subprocess.run([*git, "init", "--quiet"], check=True)
    status = [*git, "status", "--porcelain", "-uall", "--", ".pymilk"]
    return subprocess.run(status, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def shop_url(empty_database: Database, toy: Toy) -> str:
    mark_baseline(empty_database.url, toy)
    return empty_database.url


def test_a_backup_without_room_is_told_and_stays_out_of_git_afterwards(
    shop_url: str, toy: Toy
) -> None:
    backup = ("backup", "--json", "--db-url", shop_url)
    done = without_room(*backup, cwd=toy.root)
    is_told(done, f"{toy.root}/.pymilk/.gitignore can't be written", "no live database was changed")
    assert "Make room" in done.stderr
    folder = json.loads(run(*backup, cwd=toy.root).stdout)["folder"]
    assert any(Path(folder, "dump").iterdir())
    assert seen_by_git(toy.root) == ""


def test_a_list_of_what_git_ignores_that_was_left_empty_is_written_anew(toy: Toy) -> None:
    workspace = load_project(toy.root).make_workspace()
    (workspace / ".gitignore").write_text("")
    (workspace / "names.csv").write_text("Asha")
    load_project(toy.root).make_workspace()
    assert seen_by_git(toy.root) == ""


def test_a_migration_of_which_not_all_files_can_be_written_leaves_none(toy: Toy) -> None:
    done = without_room("new", "gap_012_pay_twice", cwd=toy.root)
    is_told(done, "gap_012_pay_twice.sql can't be written: File too large")
    assert list(toy.root.rglob("*gap_012*")) == []


def test_what_was_there_stays_when_its_successor_finds_no_room(tmp_path: Path) -> None:
    file = tmp_path / "a.sql"
    file.write_text("select 1;")
    file.chmod(0o640)
    write_whole(file, b"select 2;")
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("select 2;", 0o640)
    write = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0));"
        "from pathlib import Path; from pymilk.project.whole_file import write_whole;"
        "write_whole(Path('a.sql'), b'select 3;')"
    )
    done = subprocess.run(
        [sys.executable, "-c", write], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "File too large: 'a.sql'" in done.stderr
    assert ([*tmp_path.iterdir()], file.read_text()) == ([file], "select 2;")


@pytest.mark.parametrize(
    "arguments",
    [
        ("backup",),
        ("deploy", "001", "--policy", "local"),
        ("report", "--books"),
        ("watch", "--once"),
    ],
    ids=" ".join,
)
def test_a_workspace_that_can_be_none(arguments: tuple[str, ...], shop_url: str, toy: Toy) -> None:
    """Whatever of this machine is in the way is named, by every command."""
    (toy.root / ".pymilk").write_text("not a folder")
    done = run(*arguments, cwd=toy.root, extra={"SUPABASE_DB_URL": shop_url})
    is_told(done, f"{toy.root}/.pymilk can't be used: File exists")


@pytest.mark.parametrize("arguments", [("status",), ("db", "start")], ids=" ".join)
def test_a_workspace_that_can_be_none_for_the_embedded_database(
    arguments: tuple[str, ...], toy: Toy
) -> None:
    (toy.root / ".pymilk").write_text("not a folder")
    is_told(run(*arguments, cwd=toy.root), f"{toy.root}/.pymilk can't be used: File exists")


@pytest.mark.parametrize("disk", ["full", "read"])
def test_a_disk_that_is_full_or_only_read(
    disk: str, shop_url: str, toy: Toy, tmp_path: Path
) -> None:
    refuse_where_no_disk_can_be_made()
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        [*_MOUNTING, _DISK, "sh", place, toy.root, disk, _PYMILK, "backup", "--db-url", shop_url],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    why, todo = {
        "full": ("No space left on device", "Make room there"),
        "read": ("Read-only file system", "--project names it"),
    }[disk]
    is_told(done, f"{place}/.pymilk", f"can't be written: {why}", todo)


def refuse_where_no_disk_can_be_made() -> None:
    if shutil.which(_MOUNTING[0]):
        tried = subprocess.run([*_MOUNTING, "mount -t tmpfs none /mnt"], check=False)
        if tried.returncode == 0:
            return
    pytest.skip("this machine lets nobody make a disk of his own (unshare)")


def test_output_that_finds_no_room_denies_nothing_that_was_done(shop_url: str, toy: Toy) -> None:
    """What was committed before the words about it were lost is said to be there."""
    named = ("--policy", "local", "--json", "--db-url", shop_url)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [_PYMILK, "deploy", "001", *named],
            cwd=toy.root,
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    is_told(done, "What it had to say can't be written: No space left on device")
    assert f"{GAP.partition('_')[0]} is applied, with all of its proof" in done.stderr
    assert "Exception ignored" not in done.stderr
