"""Backups: what the manifest says is what comes back, and nothing half-made is ever left."""

import hashlib
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo, sql
from psycopg.rows import TupleRow

from pymilk.database import dump
from pymilk.database.catalog import read_catalog
from pymilk.database.cluster import SUPERUSER
from pymilk.database.connection import connect
from pymilk.database.contents import Contents, read_all_contents, read_tables
from pymilk.database.dump import remove_unfinished, schema_text, take_backup
from pymilk.database.embedded import scratch
from pymilk.database.ledger import prepare_ledger
from pymilk.database.manifest import Backup, read_backup
from pymilk.database.programs import find_programs
from pymilk.database.restore import restore
from pymilk.problem import Problem, TryAgainLater
from support.databases import Database
from support.projects import BASELINE_SQL, ROWS_SQL
from support.sessions import wait_until_blocked
from support.world import WORLD

PROGRAMS = find_programs()


@pytest.fixture(scope="module")
def _bench() -> Iterator[str]:
    with scratch() as server:
        yield server.url(user="supabase_admin")


@pytest.fixture
def copy_url(_bench: str) -> Iterator[str]:
    """The superuser's URL of a database that backups are restored into."""
    yield _bench
    with psycopg.connect(_bench) as connection:
        connection.execute(
            "drop schema if exists shop, pymilk, pymilk_archive cascade;"
            " set role postgres; alter default privileges revoke select on tables from anon;"
            " alter default privileges grant all on tables to postgres;"
            " alter default privileges grant execute on functions to public"
        )


@pytest.fixture
def shop(empty_database: Database) -> Database:
    connection = empty_database.connect(autocommit=True)
    connection.execute(BASELINE_SQL)
    connection.execute(ROWS_SQL)
    return empty_database


@pytest.fixture
def backup(shop: Database, tmp_path: Path) -> Backup:
    return take_backup(shop.url, PROGRAMS, tmp_path / "one")


def owner(url: str) -> str:
    return url.replace("supabase_admin@", "postgres@")


def restored_contents(backup: Backup, url: str) -> dict[str, Contents]:
    restore(backup, url, PROGRAMS)
    with connect(owner(url), purpose="test") as connection:
        return dict(read_all_contents(connection, read_tables(connection, backup.schemas)))


def test_a_backup_describes_what_is_in_it(shop: Database, backup: Backup) -> None:
    assert backup.schemas == ("public",)
    assert {name: found.rows for name, found in backup.contents.items()} == {
        "public.bills": 4,
        "public.customers": 3,
        "public.marks": 2,
        "public.notes": 3,
    }
    assert backup.server_major == shop.server.major
    assert {"manifest.json", "dump/toc.dat"} <= set(backup.files)
    assert {"postgres", "anon", "authenticated"} <= set(backup.roles)
    assert read_backup(backup.folder) == backup


def test_only_its_owner_can_read_a_backup(backup: Backup) -> None:
    assert stat.S_IMODE(backup.folder.stat().st_mode) == 0o700


def test_everything_comes_back(backup: Backup, copy_url: str) -> None:
    assert restored_contents(backup, copy_url) == backup.contents
    with connect(owner(copy_url), purpose="test") as connection:
        assert not backup.catalog.difference(read_catalog(connection))


def test_it_comes_back_on_a_server_of_the_same_version(
    backup: Backup, empty_database: Database
) -> None:
    """Which may be older than the programs, and not know all that they set."""
    url = empty_database.server.url(empty_database.name, SUPERUSER)
    restore(backup, url, find_programs())
    with connect(empty_database.url, purpose="test") as connection:
        found = read_all_contents(connection, read_tables(connection, backup.schemas))
    assert found == backup.contents


def test_rows_compared_as_a_whole_are_no_difference(
    empty_database: Database, copy_url: str, tmp_path: Path
) -> None:
    """Postgres keeps an `or` of ors and reads back one `or`: its own text of both differs."""
    empty_database.connect(autocommit=True).execute(
        """
        create table public.t (a int, b int, c int, check ((a, b, c) is distinct from (1, 2, 3)));
        create function public.f() returns trigger language plpgsql as 'begin return new; end';
        create trigger changed after update on public.t for each row
        when ((new.a, new.b, new.c) is distinct from (old.a, old.b, old.c))
        execute function public.f();
        """
    )
    backup = take_backup(empty_database.url, PROGRAMS, tmp_path / "one")
    restored_contents(backup, copy_url)
    with connect(owner(copy_url), purpose="test") as restored:
        assert backup.catalog.difference(read_catalog(restored)).sentences() == ()


def test_a_schema_with_something_of_every_kind_comes_back(
    empty_database: Database, copy_url: str, tmp_path: Path
) -> None:
    connection = empty_database.connect(user="supabase_admin", autocommit=True)
    connection.execute("set role postgres")
    connection.execute(WORLD)
    connection.execute(
        """
        insert into shop.goods (name, price, mood) select 'n' || i, i, 'good'
        from generate_series(1, 50) as i;
        insert into shop.lines values (1, 2.50, '2025-09-16');
        alter default privileges in schema public revoke all on tables from anon;
        alter default privileges revoke execute on functions from public;
        alter default privileges grant select on tables to anon with grant option;
        create function shop.noted() returns event_trigger language plpgsql as
          $$ begin perform 1; end; $$;
        """
    )
    connection.execute("reset role")
    connection.execute(
        "create event trigger noted on ddl_command_end when tag in ('CREATE TABLE')"
        " execute function shop.noted()"
    )
    backup = take_backup(empty_database.url, PROGRAMS, tmp_path / "one")
    assert restored_contents(backup, copy_url) == backup.contents
    with connect(owner(copy_url), purpose="test") as restored:
        assert backup.catalog.difference(read_catalog(restored)).sentences() == ()
    texts = [
        schema_text(url, PROGRAMS, ["shop"], data=True)
        for url in (empty_database.url, owner(copy_url))
    ]
    if empty_database.server.major == PROGRAMS.major:
        assert texts[0] == texts[1]


def test_one_copy_after_another_is_replaced_whole(
    shop: Database, backup: Backup, copy_url: str, tmp_path: Path
) -> None:
    restore(backup, copy_url, PROGRAMS)
    connection = shop.connect(autocommit=True)
    prepare_ledger(connection)
    connection.execute("drop table public.notes; update public.customers set name = 'Asha B.'")
    later = take_backup(shop.url, PROGRAMS, tmp_path / "two")
    assert later.schemas == ("public", "pymilk", "pymilk_archive")
    assert restored_contents(later, copy_url) == later.contents
    assert restored_contents(backup, copy_url) == backup.contents


def test_owners_and_grantees_that_the_copy_lacks_are_made(
    shop: Database, copy_url: str, tmp_path: Path
) -> None:
    superuser = shop.connect(user="supabase_admin", autocommit=True)
    role = sql.Identifier(f"Auditor of {shop.name}")
    superuser.execute(sql.SQL("create role {}").format(role))
    try:
        superuser.execute(sql.SQL("grant select on public.bills to {}").format(role))
        backup = take_backup(shop.url, PROGRAMS, tmp_path / "one")
        restore(backup, copy_url, PROGRAMS)
        with connect(owner(copy_url), purpose="test") as connection:
            assert not backup.catalog.difference(read_catalog(connection))
    finally:
        superuser.execute(sql.SQL("drop owned by {r}; drop role {r}").format(r=role))


@contextmanager
def busy_writer(url: str) -> Iterator[None]:
    """Somebody who goes on ordering, changing and taking back, as fast as it goes."""
    stop = threading.Event()

    def write() -> int:
        with psycopg.connect(url, autocommit=True) as session:
            rounds = 0
            while not stop.is_set():
                session.execute(
                    "insert into public.bills (customer_id, amount, note)"
                    " values (1, %s, to_json(clock_timestamp()))",
                    (rounds,),
                )
                session.execute("update public.customers set opening = opening + 1 where id = 2")
                session.execute("delete from public.bills where amount = %s", (rounds - 20,))
                rounds += 1
            return rounds

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        try:
            yield
        finally:
            stop.set()
        assert writing.result(timeout=20) > 0


def test_the_manifest_is_exact_while_others_write(
    shop: Database, copy_url: str, tmp_path: Path
) -> None:
    watcher = shop.connect(autocommit=True)

    def bills_written() -> int:
        row = watcher.execute("select last_value from public.bills_id_seq").fetchone()
        return int(row[0]) if row else 0

    with busy_writer(shop.url):
        while bills_written() < 30:
            time.sleep(0.01)
        backup = take_backup(shop.url, PROGRAMS, tmp_path / "one")
        now = read_all_contents(watcher, read_tables(watcher, ["public"]))
        # Without one snapshot for both, dump and manifest would differ like these two.
        assert now["public.bills"] != backup.contents["public.bills"]
        assert now["public.customers"] != backup.contents["public.customers"]
    assert restored_contents(backup, copy_url) == backup.contents


@pytest.mark.parametrize("what", ["altered", "removed", "added", "cut short"])
def test_a_backup_that_was_touched_is_refused_by_name(backup: Backup, what: str) -> None:
    file = next(path for path in sorted(backup.dump.iterdir()) if "toc" not in path.name)
    if what == "altered":
        file.write_bytes(bytes(byte ^ 1 for byte in file.read_bytes()))
    elif what == "removed":
        file.unlink()
    elif what == "cut short":
        file.write_bytes(file.read_bytes()[:-1])
    else:
        file = file.with_name("stranger.dat")
        file.write_bytes(b"")
    with pytest.raises(Problem, match="was altered") as refused:
        read_backup(backup.folder)
    assert file.name in refused.value.happened
    assert "Don't restore" in refused.value.todo


@pytest.mark.parametrize("name", ["manifest.json", "SHA256SUMS"])
def test_one_byte_that_differs_in_the_description_is_refused(backup: Backup, name: str) -> None:
    path = backup.folder / name
    text = path.read_bytes()
    path.write_bytes(text[:40] + bytes([text[40] ^ 1]) + text[41:])
    with pytest.raises(Problem, match="was altered"):
        read_backup(backup.folder)


@pytest.mark.parametrize("name", ["manifest.json", "SHA256SUMS"])
def test_a_folder_without_its_description_is_no_backup(backup: Backup, name: str) -> None:
    (backup.folder / name).unlink()
    with pytest.raises(Problem, match="is no backup of ours"):
        read_backup(backup.folder)


@pytest.mark.parametrize("manifest", ["", "{", "[]", '{"format": 1}', '{"format": 2}', "null"])
def test_a_description_of_another_shape_is_no_backup(backup: Backup, manifest: str) -> None:
    (backup.folder / "manifest.json").write_text(manifest)
    sealed = hashlib.sha256(manifest.encode()).hexdigest()
    sums = (backup.folder / "SHA256SUMS").read_text()
    told = backup.files["manifest.json"]
    (backup.folder / "SHA256SUMS").write_text(sums.replace(told, sealed))
    with pytest.raises(Problem, match="is no backup of ours"):
        read_backup(backup.folder)


def test_it_can_be_checked_without_us(backup: Backup) -> None:
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    assert subprocess.run(check, cwd=backup.folder, check=False).returncode == 0
    (backup.folder / "dump" / "toc.dat").write_bytes(b"")
    assert subprocess.run(check, cwd=backup.folder, check=False).returncode == 1


def test_sequences_are_described_as_far_as_they_had_counted(backup: Backup) -> None:
    assert backup.positions == {"public.bills_id_seq": 4}


def test_the_manifest_names_what_is_not_in_the_backup(backup: Backup) -> None:
    manifest = json.loads((backup.folder / "manifest.json").read_text(encoding="utf-8"))
    assert any("Files in Storage" in sentence for sentence in manifest["not_included"])


def test_a_failed_dump_leaves_nothing(shop: Database, tmp_path: Path) -> None:
    watcher = shop.connect(user="supabase_admin", autocommit=True)
    block_pg_dump(shop)
    with ThreadPoolExecutor(1) as pool:
        backing_up = pool.submit(take_backup, shop.url, PROGRAMS, tmp_path / "backups" / "one")
        watcher.execute("select pg_terminate_backend(%s)", (wait_for_dump(watcher),))
        with pytest.raises(Problem, match="terminat") as failed:
            backing_up.result(timeout=30)
    assert failed.value.state.startswith("Nothing was changed")
    assert list((tmp_path / "backups").iterdir()) == []


def test_a_locked_table_is_waited_for_and_its_holder_named(
    shop: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dump, "_LOCK_WAIT", "100ms")
    blocker = shop.connect()
    blocker.execute("lock table public.bills in access exclusive mode")
    with pytest.raises(TryAgainLater, match=f"bills by postgres .*{blocker.info.backend_pid}"):
        take_backup(shop.url, PROGRAMS, tmp_path / "backups" / "one")
    assert list((tmp_path / "backups").iterdir()) == []


def test_whoever_changes_a_table_meanwhile_waits_and_the_backup_is_for_later(
    shop: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pg_dump queues behind the one who queues behind us: nobody may wait for ever."""
    monkeypatch.setattr(dump, "_LOCK_WAIT", "200ms")
    watcher = shop.connect(user="supabase_admin", autocommit=True)
    blocker, changer = block_pg_dump(shop), shop.connect(autocommit=True)
    with ThreadPoolExecutor(2) as pool:
        backing_up = pool.submit(take_backup, shop.url, PROGRAMS, tmp_path / "one")
        wait_for_dump(watcher)
        dropping = pool.submit(changer.execute, "alter table public.notes drop column body")
        wait_until_blocked(watcher, changer.info.backend_pid)
        blocker.rollback()
        with pytest.raises(TryAgainLater, match="lock"):
            backing_up.result(timeout=30)
        dropping.result(timeout=30)


def test_a_backup_that_was_killed_is_cleared_away_and_a_running_one_is_not(
    shop: Database, tmp_path: Path
) -> None:
    watcher = shop.connect(user="supabase_admin", autocommit=True)
    blocker = block_pg_dump(shop)
    program = (
        "import sys; from pathlib import Path\n"
        "from pymilk.database.dump import take_backup\n"
        "from pymilk.database.programs import find_programs\n"
        "take_backup(sys.argv[1], find_programs(), Path(sys.argv[2]))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, shop.url, str(tmp_path / "one")]
    ) as running:
        wait_for_dump(watcher)
        remove_unfinished(tmp_path)
        assert (tmp_path / "one.partial").is_dir()
        running.kill()
    blocker.rollback()
    remove_unfinished(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_backup_left_is_no_obstacle(shop: Database, tmp_path: Path) -> None:
    (tmp_path / "one.partial" / "dump").mkdir(parents=True)
    (tmp_path / "one.partial" / "dump" / "toc.dat").write_text("half")
    backup = take_backup(shop.url, PROGRAMS, tmp_path / "one")
    assert read_backup(backup.folder) == backup
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_a_restore_that_fails_says_so(backup: Backup, copy_url: str) -> None:
    (backup.folder / "dump" / "toc.dat").write_bytes(b"PGDMP nothing")
    with pytest.raises(Problem, match="could not be restored"):
        restore(backup, copy_url, PROGRAMS)


def command_lines(program: str) -> list[str]:
    """The command lines of all processes that run a program."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().decode().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if line.split(" ", 1)[0].endswith(program):
            found.append(line)
    return found


def test_the_password_is_on_no_command_line(shop: Database, tmp_path: Path) -> None:
    # Behind a private socket nobody needs one, and any will do.
    parts = {"password": "geheim-und-lang", **conninfo.conninfo_to_dict(shop.url)}
    url, password = conninfo.make_conninfo("", **parts), str(parts["password"])
    blocker = block_pg_dump(shop)
    watcher = shop.connect(user="supabase_admin", autocommit=True)
    with ThreadPoolExecutor(1) as pool:
        backing_up = pool.submit(take_backup, url, PROGRAMS, tmp_path / "one")
        try:
            wait_for_dump(watcher)
            ours = [line for line in command_lines("pg_dump") if str(tmp_path) in line]
        finally:
            blocker.rollback()
        backing_up.result(timeout=30)
    assert ours
    assert not [line for line in ours if password in line]


def block_pg_dump(shop: Database) -> psycopg.Connection[TupleRow]:
    """Hold back pg_dump alone: it reads a catalog that nobody else asks for, not even a login."""
    blocker = shop.connect(user="supabase_admin")
    blocker.execute("lock table pg_catalog.pg_init_privs in access exclusive mode")
    return blocker


def wait_for_dump(watcher: psycopg.Connection[TupleRow]) -> int:
    """Wait until pg_dump is seen waiting for a lock; gives its session's process id."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        row = watcher.execute(
            "select pid from pg_stat_activity where datname = current_database()"
            " and application_name = 'pg_dump' limit 1"
        ).fetchone()
        if row is not None:
            wait_until_blocked(watcher, row[0])
            return int(row[0])
        time.sleep(0.01)
    raise AssertionError("pg_dump was not seen")


def fill(shop: Database) -> None:
    shop.connect(autocommit=True).execute(
        "insert into public.notes select i, (select string_agg(md5((i * j)::text), '')"
        " from generate_series(1, 50) as j) from generate_series(100, 2000) as i"
    )


def test_a_full_disk_leaves_nothing_and_says_so(shop: Database, tmp_path: Path) -> None:
    """A file may not grow beyond 100 kB here: a real write that fails, for whoever runs this."""
    fill(shop)
    program = (
        "import sys; from pathlib import Path\n"
        "from pymilk.database.dump import take_backup\n"
        "from pymilk.database.programs import find_programs\n"
        "from pymilk.problem import Problem\n"
        "try: take_backup(sys.argv[1], find_programs(), Path(sys.argv[2]))\n"
        "except Problem as problem: print(problem.happened, '|', problem.state)\n"
    )

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = subprocess.run(
        [sys.executable, "-c", program, shop.url, str(tmp_path / "backups" / "one")],
        preexec_fn=small_files,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "The backup failed" in done.stdout
    assert "Nothing was changed in the database" in done.stdout
    assert list((tmp_path / "backups").iterdir()) == []


@contextmanager
def small_disk(place: Path) -> Iterator[None]:
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)],  # noqa: S607 - root's own
        check=False,
        capture_output=True,
        text=True,
    )
    if mounted.returncode != 0:
        pytest.skip(f"a disk of 64 kB can't be mounted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)  # noqa: S607 - root's own


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
@pytest.mark.parametrize("rows", [True, False], ids=["in the dump", "in the manifest"])
def test_a_small_disk_leaves_nothing_and_says_so(
    shop: Database, tmp_path: Path, *, rows: bool
) -> None:
    if rows:
        fill(shop)
    else:
        statement = "comment on table public.notes is " + "'" + "x" * 60_000 + "'"
        shop.connect(autocommit=True).execute(statement)
    with small_disk(tmp_path / "disk"):
        with pytest.raises(Problem, match="No space left") as failed:
            take_backup(shop.url, PROGRAMS, tmp_path / "disk" / "one")
        assert list((tmp_path / "disk").iterdir()) == []
    assert "room" in failed.value.todo
