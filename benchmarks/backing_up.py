"""What it costs that a backup is proven: ours beside Postgres's two programs by themselves.

Ours dumps, reads a fingerprint of every table in the dump's own snapshot, writes checksums,
restores onto a throw-away server, and reads every fingerprint again. The reference is
`pg_dump -Fd -j2` and `pg_restore -j2` onto the same server, and proves nothing; as they are, and
compressing as little as we do.

Memory is that of our own process, at its highest: once with a quarter of the rows, once with all.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from itertools import count
from pathlib import Path

import psycopg
from psycopg import sql

import gigabyte
from pymilk.database.cluster import SUPERUSER
from pymilk.database.embedded import EmbeddedServer, scratch
from pymilk.database.programs import find_programs
from pymilk.project.project import load_project
from side_by_side import Effort, Rounds, Row, alternate, at_most

_ROOT = Path(__file__).resolve().parents[1]
_CUSTOMERS = 4000
_OURS, _BARE = "backup and restore test, proven", "bare pg_dump -Fd -j2 and pg_restore -j2"
_LIGHT = "the same with --compress=gzip:1"
_PROVING = Path(__file__).parent / "backup_proven.py"
_MIB = 1024

_numbers = count(1)


def rows(effort: Effort) -> Iterable[Row]:
    """Time beside the bare programs, and memory beside a quarter of it."""
    customers = effort.choose(_CUSTOMERS, 40)
    with scratch() as live, scratch() as copy, tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        small, whole = _dairy(live, customers // 4), _dairy(live, customers)
        size = _gigabytes(whole)
        memory: list[float] = []

        def ours() -> float:
            seconds, peak = _proven(whole, copy, place)
            memory.append(peak)
            return seconds

        measured = alternate(
            {
                _OURS: ours,
                _BARE: lambda: _bare(whole, copy, place),
                _LIGHT: lambda: _bare(whole, copy, place, "--compress=gzip:1"),
            },
            rounds=effort.choose(3, 2),
            unit="s",
        )
        yield measured.ratio(_OURS, _BARE, at_most(1.3), name=f"{_OURS}, {size:.2f} GB")
        yield measured.ratio(_OURS, _LIGHT, name=f"{_OURS}, {size:.2f} GB")
        yield _memory(memory, [_proven(small, copy, place)[1] for _ in memory])


def _memory(whole: list[float], quarter: list[float]) -> Row:
    name, against = "memory of our process, at its highest", "with a quarter of the rows"
    told = Rounds({name: whole, against: quarter}, "MiB")
    return told.ratio(name, against, at_most(1.1))


def _proven(url: str, copy: EmbeddedServer, folder: Path) -> tuple[float, float]:
    """Seconds, and MiB of our process at its highest."""
    database = _new_database(copy)
    place = folder / f"backup_{next(_numbers)}"
    told = subprocess.run(
        [
            sys.executable,
            str(_PROVING),
            url,
            copy.url(database),
            copy.url(database, SUPERUSER),
            str(place),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(told.stdout)
    _drop(copy, database)
    return found["seconds"], found["peak_kib"] / _MIB


def _bare(url: str, copy: EmbeddedServer, folder: Path, *options: str) -> float:
    programs, place = find_programs(), folder / f"bare_{next(_numbers)}"
    database = _new_database(copy)
    with psycopg.connect(copy.url(database, SUPERUSER), autocommit=True) as connection:
        connection.execute("drop schema public cascade")
    into = copy.url(database, SUPERUSER)
    started = time.perf_counter()
    dumping = [*options, "-Fd", "-j2", "--schema=public", "-f", str(place), "-d", url]
    restoring = ["-j2", "--exit-on-error", "-d", into, str(place)]
    for command in (
        [str(programs.path("pg_dump")), *dumping],
        [str(programs.path("pg_restore")), *restoring],
    ):
        subprocess.run(command, check=True, capture_output=True)
    seconds = time.perf_counter() - started
    _drop(copy, database)
    return seconds


def _dairy(server: EmbeddedServer, customers: int) -> str:
    """A database with the baseline, and a year of so many customers in it."""
    url = server.url(_new_database(server))
    with psycopg.connect(url) as connection:
        connection.execute(load_project(_ROOT).migrations[0].up.text.encode())
        gigabyte.fill(connection, customers)
    return url


def _gigabytes(url: str) -> float:
    with psycopg.connect(url) as connection:
        row = connection.execute("select pg_database_size(current_database()) / 1e9").fetchone()
    return float(row[0]) if row else 0.0


def _new_database(server: EmbeddedServer) -> str:
    name = f"bench_{next(_numbers)}"
    _administer(server, "create database {} template postgres owner postgres", name)
    return name


def _drop(server: EmbeddedServer, name: str) -> None:
    _administer(server, "drop database {} with (force)", name)


def _administer(server: EmbeddedServer, statement: str, name: str) -> None:
    with psycopg.connect(server.url("template1", SUPERUSER), autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(sql.Identifier(name)))
