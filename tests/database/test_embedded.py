"""The embedded Postgres: it survives what happens to it, and keeps to itself."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from pymilk.database import embedded
from pymilk.database.embedded import EmbeddedServer
from pymilk.problem import Problem

START = """
import sys
from pathlib import Path
from pymilk.database.embedded import EmbeddedServer
EmbeddedServer(Path(sys.argv[1])).start()
"""
STOP = START.replace(".start()", ".stop()")
SCRATCH = """
from pymilk.database import embedded
with embedded.scratch() as server:
    print(server.directory, server.url(), sep="\\n", flush=True)
    input()
"""


@pytest.fixture(scope="module")
def reachable() -> Iterator[Path]:
    """A folder that the user who runs Postgres can reach, whoever we are."""
    with tempfile.TemporaryDirectory(prefix="pymilk-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def one_for_all(reachable: Path) -> Iterator[EmbeddedServer]:
    """A server that several tests use one after the other."""
    server = EmbeddedServer(reachable / "one for all")
    server.start()
    yield server
    server.destroy()


@pytest.fixture
def server(one_for_all: EmbeddedServer) -> EmbeddedServer:
    """A server that was made before and is stopped now."""
    one_for_all.stop()
    return one_for_all


@pytest.fixture
def new(reachable: Path, request: pytest.FixtureRequest) -> Iterator[EmbeddedServer]:
    """A server that has never been started, in a folder whose name is no help."""
    folder = reachable / f"""it's "a" $HOME`id` \\ {"ü" * 50}""" / request.node.name
    server = EmbeddedServer(folder / "embedded")
    yield server
    server.destroy()


def test_it_starts_stops_and_keeps_its_data(server: EmbeddedServer) -> None:
    assert not server.running()
    server.start()
    assert server.running()
    _write_note(server)
    server.stop()
    assert not server.running()
    server.start()
    assert _note(server) == "kept"


def test_starting_and_stopping_again_is_nothing(server: EmbeddedServer) -> None:
    server.stop()
    server.start()
    first = _postmaster(server)
    server.start()
    assert _postmaster(server) == first
    server.stop()
    server.stop()


def test_it_is_shaped_and_safe(server: EmbeddedServer) -> None:
    server.start()
    with psycopg.connect(server.url()) as session:
        row = session.execute(
            """
            select
              current_user::text, current_setting('fsync'), current_setting('listen_addresses'),
              current_setting('TimeZone'), current_setting('server_encoding'),
              to_regrole('anon') is not null
            """
        ).fetchone()
    assert row == ("postgres", "on", "", "UTC", "UTF8", True)


def test_nobody_else_gets_at_the_data_or_the_socket(server: EmbeddedServer) -> None:
    server.start()
    for folder in (_setting(server, "data_directory"), _setting(server, "unix_socket_directories")):
        assert stat.S_IMODE(Path(folder).stat().st_mode) == stat.S_IRWXU


@pytest.mark.long
def test_a_private_folder_stays_private(tmp_path: Path) -> None:
    """Also for root, whose Postgres runs as a user that can't enter it."""
    tmp_path.chmod(0o700)
    server = EmbeddedServer(tmp_path / "project" / ".pymilk" / "embedded")
    try:
        server.start()
        _write_note(server)
        server.stop()
        server.start()
        assert _note(server) == "kept"
        assert stat.S_IMODE(tmp_path.stat().st_mode) == stat.S_IRWXU
    finally:
        data = Path(_setting(server, "data_directory"))
        server.destroy()
    assert not data.exists()


def test_the_environment_does_not_mislead_it(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGPORT": "1", "PGHOST": "nowhere", "PGDATA": "/nowhere"}.items():
        monkeypatch.setenv(name, value)
    server.start()
    with psycopg.connect(server.url()) as session:
        assert session.execute("select 1").fetchone() == (1,)


def test_destroyed_is_gone_and_can_begin_anew(server: EmbeddedServer) -> None:
    server.start()
    _write_note(server)
    data, socket = _setting(server, "data_directory"), _setting(server, "unix_socket_directories")
    server.destroy()
    assert not server.running()
    assert not Path(data).exists()
    assert not Path(socket).exists()
    server.start()
    with psycopg.connect(server.url()) as session:
        assert session.execute("select to_regclass('public.note')").fetchone() == (None,)


# ── Several at once ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.long
def test_many_start_it_at_once(new: EmbeddedServer) -> None:
    _all_succeed([_python(START, new) for _ in range(6)])
    assert new.running()
    assert len(_postmasters(_setting(new, "unix_socket_directories"))) == 1


@pytest.mark.long
def test_some_start_and_some_stop_it_at_once(server: EmbeddedServer) -> None:
    server.start()
    _write_note(server)
    for _ in range(3):
        _all_succeed([_python(code, server) for code in (START, STOP, START, STOP)])
    server.start()
    assert _note(server) == "kept"


# ── Killed ──────────────────────────────────────────────────────────────────────────────────────


def test_it_recovers_after_its_processes_were_killed(server: EmbeddedServer) -> None:
    server.start()
    _write_note(server)
    busy = psycopg.connect(server.url())
    busy.execute("insert into public.note values ('not committed')")
    os.kill(_postmaster(server), signal.SIGKILL)
    server.start()
    assert _note(server) == "kept"
    busy.close()


def test_it_waits_for_the_last_children_of_a_killed_server(server: EmbeddedServer) -> None:
    server.start()
    _write_note(server)
    busy = psycopg.connect(server.url())
    os.kill(busy.info.backend_pid, signal.SIGSTOP)
    os.kill(_postmaster(server), signal.SIGKILL)
    starter = _python(START, server)
    log = server.directory / "server" / "server.log"
    _wait_until(lambda: "still in use" in log.read_text())
    os.kill(busy.info.backend_pid, signal.SIGCONT)
    _all_succeed([starter])
    assert _note(server) == "kept"
    busy.close()


@pytest.mark.long
@pytest.mark.parametrize(
    "reached",
    [
        pytest.param("server/new-*/data/PG_VERSION", id="making the data"),
        pytest.param("server/new-*/data/postmaster.pid", id="starting to shape them"),
        pytest.param("server/data/postmaster.pid", id="starting the finished server"),
    ],
)
def test_a_start_killed_on_the_way_is_made_good(new: EmbeddedServer, reached: str) -> None:
    starter = _python(START, new)
    _wait_until(lambda: any(new.directory.glob(reached)))
    starter.kill()
    starter.wait()
    new.start()
    _write_note(new)
    assert not list(new.directory.glob("server/new-*"))


def test_it_outlives_ctrl_c_of_who_started_it(server: EmbeddedServer) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", f"{START}\nprint('started', flush=True)\ninput()", server.directory],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "started\n"
        os.killpg(child.pid, signal.SIGINT)
        child.communicate()
    assert child.returncode != 0
    assert server.running()


def test_who_started_it_lets_go_of_the_output(server: EmbeddedServer) -> None:
    """`pymilk db start | cat` must end: the pipe ends when its last holder closes it."""
    subprocess.run(
        [sys.executable, "-c", START, server.directory], check=True, capture_output=True, timeout=60
    )
    assert server.running()


def test_a_pid_file_that_names_another_process_is_no_obstacle(server: EmbeddedServer) -> None:
    server.start()
    _write_note(server)
    pid_file = Path(_setting(server, "data_directory")) / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    os.kill(_postmaster(server), signal.SIGKILL)
    # The number belongs to somebody else by now: as after a crash of the machine.
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:], ""]))
    assert not server.running()
    server.start()
    assert _note(server) == "kept"


@pytest.mark.long
def test_a_folder_removed_by_hand_while_it_runs_begins_anew(server: EmbeddedServer) -> None:
    server.start()
    socket = _setting(server, "unix_socket_directories")
    shutil.rmtree(server.directory)
    assert not server.running()
    server.start()
    assert server.running()
    assert len(_postmasters(socket)) == 1


def test_any_path_to_the_folder_leads_to_the_server(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.start()
    link = tmp_path / "link"
    link.symlink_to(server.directory.parent)
    monkeypatch.chdir(server.directory.parent)
    for path in (link / server.directory.name, Path(server.directory.name)):
        other = EmbeddedServer(path)
        assert other.running()
        other.start()
        assert other.url() == server.url()


@pytest.mark.long
def test_a_folder_renamed_while_it_runs_keeps_its_server(new: EmbeddedServer) -> None:
    new.start()
    _write_note(new)
    first = _begin(new)
    renamed = EmbeddedServer(new.directory.with_name("renamed"))
    new.directory.rename(renamed.directory)
    try:
        assert renamed.running()
        renamed.start()
        assert _begin(renamed) == first
        renamed.stop()
        renamed.start()
        assert _note(renamed) == "kept"
    finally:
        renamed.destroy()


def test_a_copied_folder_is_another_server(server: EmbeddedServer, reachable: Path) -> None:
    server.start()
    _write_note(server)
    with psycopg.connect(server.url(user="supabase_admin"), autocommit=True) as session:
        session.execute("checkpoint")
    copy = EmbeddedServer(reachable / "copy")
    subprocess.run(["/bin/cp", "-a", server.directory, copy.directory], check=True)
    try:
        assert not copy.running()
        copy.start()
        assert _postmaster(copy) != _postmaster(server)
        assert _note(copy) == "kept"
        assert server.running()
    finally:
        copy.destroy()


# ── Refused ─────────────────────────────────────────────────────────────────────────────────────


def test_it_says_why_it_does_not_start(server: EmbeddedServer) -> None:
    server.start()
    data = Path(_setting(server, "data_directory"))
    server.stop()
    settings = data / "postgresql.conf"
    whole = settings.read_text()
    settings.write_text(f"{whole}\nno_such_setting = 1\n")
    with pytest.raises(Problem, match="no_such_setting") as refused:
        server.start()
    assert "not touched" in refused.value.state
    settings.write_text(whole)
    server.start()


def test_a_socket_folder_of_somebody_else_is_not_trusted(server: EmbeddedServer) -> None:
    server.start()
    socket = Path(_setting(server, "unix_socket_directories"))
    server.stop()
    socket.mkdir()
    socket.chmod(0o777)
    with pytest.raises(Problem, match="not a private one of ours"):
        server.start()
    socket.rmdir()
    server.start()


def test_the_url_of_nothing_is_refused(new: EmbeddedServer) -> None:
    with pytest.raises(Problem, match="There is no embedded Postgres"):
        new.url()


@pytest.mark.long
def test_data_that_were_elsewhere_and_are_gone_are_missed(tmp_path: Path) -> None:
    """Not made anew in silence: somebody counted on them."""
    server = EmbeddedServer(tmp_path)
    (tmp_path / "place").write_text(str(tmp_path / "elsewhere"))
    with pytest.raises(Problem, match="are gone"):
        server.start()
    server.destroy()
    server.start()
    server.destroy()


def test_a_folder_that_can_not_be_made_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Problem, match="can't be used"):
        EmbeddedServer(tmp_path / "file" / "embedded").start()


# ── Scratch ─────────────────────────────────────────────────────────────────────────────────────


def test_scratch_is_destroyed_at_its_end() -> None:
    with embedded.scratch() as scratch:
        socket = _setting(scratch, "unix_socket_directories")
        assert _setting(scratch, "fsync") == "off"
    _assert_nothing_is_left(scratch.directory, socket)


def test_scratch_is_destroyed_when_its_block_is_interrupted() -> None:
    seen: list[str] = []
    with pytest.raises(KeyboardInterrupt), embedded.scratch() as scratch:  # noqa: PT012 - it is
        seen = [str(scratch.directory), _setting(scratch, "unix_socket_directories")]
        raise KeyboardInterrupt
    _assert_nothing_is_left(Path(seen[0]), seen[1])


@pytest.mark.long
def test_the_next_scratch_removes_what_the_killed_left_and_nothing_else() -> None:
    killed, of_killed, url_of_killed = _scratch_of_another_process()
    living, of_living, url_of_living = _scratch_of_another_process()
    with killed, living:
        killed.kill()
        killed.wait()
        with psycopg.connect(url_of_killed) as session:  # nobody has cleaned up yet
            row = session.execute("select current_setting('unix_socket_directories')").fetchone()
        assert row is not None
        with embedded.scratch():
            _assert_nothing_is_left(of_killed, row[0])
            psycopg.connect(url_of_living).close()
        living.communicate("\n")
    assert living.returncode == 0
    assert not of_living.exists()


# ── Helpers ─────────────────────────────────────────────────────────────────────────────────────


def _write_note(server: EmbeddedServer) -> None:
    with psycopg.connect(server.url()) as session:
        session.execute("drop table if exists public.note")
        session.execute("create table public.note as select 'kept' as words")


def _note(server: EmbeddedServer) -> str:
    with psycopg.connect(server.url()) as session:
        rows = session.execute("select words from public.note").fetchall()
    assert len(rows) == 1
    return str(rows[0][0])


def _setting(server: EmbeddedServer, name: str) -> str:
    with psycopg.connect(server.url(user="supabase_admin")) as session:
        row = session.execute("select current_setting(%s)", (name,)).fetchone()
    assert row is not None
    return str(row[0])


def _begin(server: EmbeddedServer) -> str:
    with psycopg.connect(server.url()) as session:
        row = session.execute("select pg_postmaster_start_time()::text").fetchone()
    assert row is not None
    return str(row[0])


def _postmaster(server: EmbeddedServer) -> int:
    pid_file = Path(_setting(server, "data_directory")) / "postmaster.pid"
    return int(pid_file.read_text().split("\n", 1)[0])


def _postmasters(socket_directory: str) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue  # ended meanwhile
        if os.fsencode(socket_directory) in command.split(b"\0"):
            found.append(int(process.name))
    return found


def _python(code: str, server: EmbeddedServer) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, str(server.directory)], text=True)


def _all_succeed(children: list[subprocess.Popen[str]]) -> None:
    assert [child.wait(timeout=120) for child in children] == [0] * len(children)


def _scratch_of_another_process() -> tuple[subprocess.Popen[str], Path, str]:
    child = subprocess.Popen(
        [sys.executable, "-c", SCRATCH], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    directory, url = child.stdout.readline().strip(), child.stdout.readline().strip()
    return child, Path(directory), url


def _assert_nothing_is_left(directory: Path, socket: str) -> None:
    assert not directory.exists()
    assert not Path(socket).exists()
    assert not directory.with_suffix(".lock").exists()
    assert not _postmasters(socket)


def _wait_until(seen: Callable[[], bool], timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while not seen():
        assert time.monotonic() < deadline, f"not seen within {timeout} s"
        time.sleep(0.001)
