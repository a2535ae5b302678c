"""Target 6: a backup with its proof.

A backup and its restore test, with fingerprints of both sides, of 1 GB: at most 1.3 times the bare
pg_dump -Fd -j2 and pg_restore -j2; memory stays flat.

Readings. *The backup and its test*: `pymilk backup` and `pymilk restore-test`, as they are typed
(two interpreters, a throw-away server); or that less the same two on books that are all but empty,
the reference likewise. *The bare two*: compressed as pg_dump does by itself, as little as gzip can
(gzip:1), or not at all; restored on the server that was dumped, whose commits reach the disk, or on
a throw-away server that runs already. *1 GB*: of database, indexes included. *Flat memory*: what
the command, or the largest program that it runs (but not the server), holds at most, on 1 GB and on
an eighth of it; flat is at most a tenth more.
"""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg

from independent import books
from independent.command import Project, copy_of_ours, run
from independent.figures import (
    Comparison,
    Effort,
    Figure,
    Measured,
    at_most,
    in_turns,
    middle,
    ratios,
    tell,
)
from independent.server import DURABLE, SUPERUSER, Server, number, running
from pymilk.database.embedded import EmbeddedServer, scratch
from pymilk.database.programs import find_programs

_TARGET = 6
_OURS = "backup and restore test"
_COMPRESSIONS = {"as pg_dump does": "", "gzip:1": "gzip:1", "not at all": "none"}
_PLACES = ("on the server itself", "on a throw-away server")
_COPY = "bare_copy"
_FLAT = 1.1


@dataclass(frozen=True)
class _Books:
    """Books to back up: their database, and of what size they are."""

    database: str
    size: books.Size


def measure(effort: Effort) -> Iterator[Figure]:
    """Target 6, figure by figure."""
    customers = effort.pick(35_000, 160)
    large, small, empty = (
        _Books("large", books.Size(customers, 5, 10)),
        _Books("small", books.Size(customers // 8, 5, 10)),
        _Books("empty", books.Size(10, 5, 1)),
    )
    with (
        running(DURABLE) as server,
        scratch() as throw_away,
        tempfile.TemporaryDirectory() as name,
    ):
        bench = _Bench(server, throw_away, Path(name))
        copy_of_ours(bench.folder)
        for each in (large, small, empty):
            server.create(each.database)
            books.fill(server, each.database, each.size)
            tell(f"{each.database}: {bench.megabytes(each):.0f} MB, {each.size}")
        whole = bench.compare(large, effort.rounds)
        nothing = bench.compare(empty, effort.rounds)
        said = f"{bench.megabytes(large):.0f} MB"
        yield from _compared(whole, said, "as typed")
        yield from _compared(_less(whole, nothing), said, "less that on empty books")
        yield from _memory(bench, (large, small), effort.rounds)


def _compared(measured: Measured, said: str, reading: str) -> Iterator[Figure]:
    compared = Comparison(_TARGET, measured, at_most(1.3))
    for reference in measured:
        if reference != _OURS:
            yield compared.figure(
                f"{_OURS} of {said}", f"{reading}; bare: {reference}", _OURS, reference
            )


def _less(whole: Measured, nothing: Measured) -> Measured:
    return {
        name: [value - middle(nothing[name]) for value in values] for name, values in whole.items()
    }


def _memory(bench: "_Bench", sizes: tuple[_Books, _Books], rounds: int) -> Iterator[Figure]:
    large, small = sizes
    held: dict[str, list[float]] = {}
    for _ in range(rounds):
        for each in sizes:
            for command, megabytes in bench.memory(each).items():
                held.setdefault(f"{command} {each.database}", []).append(megabytes)
    for command in ("backup", "restore-test"):
        more, less = held[f"{command} {large.database}"], held[f"{command} {small.database}"]
        yield Figure(
            _TARGET,
            f"memory of {command}",
            f"{bench.megabytes(large):.0f} MB against {bench.megabytes(small):.0f} MB of database",
            ratios(more, less),
            limit=at_most(_FLAT),
            note=f"{max(more):.0f} and {max(less):.0f} MB at most",
        )


@dataclass(frozen=True)
class _Bench:
    """Backs up and restores, in both ways."""

    server: Server
    throw_away: EmbeddedServer
    folder: Path

    def megabytes(self, source: _Books) -> float:
        """How large a database is."""
        with self.server.connect(source.database) as session:
            return number(session, "select pg_database_size(current_database())") / 2**20

    def compare(self, source: _Books, rounds: int) -> Measured:
        """Seconds of each way, in turns."""
        return in_turns(
            {
                _OURS: partial(self._ours, source),
                **{
                    f"{words}, restored {place}": partial(self._bare, source, compression, place)
                    for words, compression in _COMPRESSIONS.items()
                    for place in _PLACES
                },
            },
            rounds,
        )

    def memory(self, source: _Books) -> dict[str, float]:
        """The most that each command held, in MB."""
        project = Project(self.folder, self.server.url(source.database))
        held = {name: project.megabytes(name) for name in ("backup", "restore-test")}
        shutil.rmtree(self.folder / ".pymilk" / "backups")
        return held

    def _ours(self, source: _Books) -> float:
        self.server.administer("checkpoint")
        project = Project(self.folder, self.server.url(source.database))
        taken = project.pymilk("backup").seconds + project.pymilk("restore-test").seconds
        shutil.rmtree(self.folder / ".pymilk" / "backups")
        return taken

    def _bare(self, source: _Books, compression: str, place: str) -> float:
        self.server.administer("checkpoint")
        at = self.server.embedded if place == _PLACES[0] else self.throw_away
        programs = find_programs()
        dump = self.folder / "bare"
        with psycopg.connect(at.url("postgres", SUPERUSER), autocommit=True) as session:
            session.execute(f"create database {_COPY} template template0".encode())
            dumped = run(
                [
                    str(programs.path("pg_dump")), "-Fd", "-j2", "-f", str(dump),
                    *([f"--compress={compression}"] if compression else []),
                    self.server.url(source.database, SUPERUSER),
                ],
                self.folder,
            )  # fmt: skip
            restored = run(
                [
                    str(programs.path("pg_restore")), "-j2", "-d", at.url(_COPY, SUPERUSER),
                    str(dump),
                ],
                self.folder,
            )  # fmt: skip
            shutil.rmtree(dump)
            self._refuse_unequal(source, at)
            session.execute(f"drop database {_COPY} with (force)".encode())
        return dumped.seconds + restored.seconds

    def _refuse_unequal(self, source: _Books, at: EmbeddedServer) -> None:
        counting = "select count(*) from public.invoice_line_items"
        with (
            self.server.connect(source.database) as there,
            psycopg.connect(at.url(_COPY, SUPERUSER)) as here,
        ):
            if number(there, counting) != number(here, counting):
                raise AssertionError("what was restored isn't what was dumped")
