"""Backups that others have made: what kind of file it is, and its text.

The Supabase dashboard gives a gzipped cluster dump, `supabase db dump` plain SQL, pg_dump any of
its formats. All of them are read as text: pg_restore prints what isn't.
"""

import gzip
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import IO

from pymilk.database.programs import Programs
from pymilk.database.run_program import Told, run_program, running
from pymilk.problem import Problem

_HEAD = 8192
_UNTOUCHED = "Nothing was changed; the file was only read."
_TOLD = Told("The file can't be read to its end", _UNTOUCHED)
_TRUNCATED = "Download it again, and compare its size; don't rely on this one."

_PACKED = {
    b"PK\x03\x04": "a zip archive",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"\x04\x22\x4d\x18": "compressed with lz4",
    b"\xfd7zXZ\x00": "compressed with xz",
    b"BZh": "compressed with bzip2",
}
_GZIP = b"\x1f\x8b"
_CUSTOM = b"PGDMP"
# What `supabase db dump` begins with: it takes pg_dump's comments away.
_BARE = (b"SET statement_timeout = 0;", b"SET session_replication_role = replica;")
_CREATED = re.compile(r"^;\s*Archive created at (\S+ \S+) *(\S*)$", re.MULTILINE)


class Kind(StrEnum):
    """What kind of dump a file is, in words."""

    CUSTOM = "pg_dump's custom format"
    DIRECTORY = "pg_dump's directory format"
    TAR = "pg_dump's tar format"
    PLAIN = "plain SQL of one database"
    CLUSTER = "plain SQL of a whole server (pg_dumpall, the dashboard)"


@dataclass(frozen=True)
class DumpFile:
    """A dump that others have made.

    Attributes:
        path: The file, or the folder.
        kind: What it is.
        gzipped: Whether the text is compressed.
        bytes: Its size.
    """

    path: Path
    kind: Kind
    gzipped: bool
    bytes: int

    @property
    def is_archive(self) -> bool:
        """Whether only pg_restore can read it."""
        return self.kind in {Kind.CUSTOM, Kind.DIRECTORY, Kind.TAR}


def recognise(path: Path) -> DumpFile:
    """Find out what a file is by what is in it; its name says nothing.

    Raises:
        Problem: It is no dump, it is empty, or it is compressed in another way.
    """
    try:
        if path.is_dir():
            return _folder(path)
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_HEAD)
        gzipped = head.startswith(_GZIP)
        if gzipped:
            with gzip.open(path) as file:
                head = file.read(_HEAD)
    except (EOFError, zlib.error) as error:
        raise _cut_short(path) from error
    except OSError as error:
        raise _no_dump(path, f"it can't be read ({error.strerror or error})") from error
    if not head:
        raise _no_dump(path, "it is empty")
    for magic, what in _PACKED.items():
        if head.startswith(magic):
            raise _no_dump(path, f"it is {what}", todo="Unpack it, then name what was in it.")
    kind = _kind(head)
    if kind is None:
        raise _no_dump(path, "it doesn't begin like one")
    if gzipped and kind in {Kind.CUSTOM, Kind.TAR}:
        raise _no_dump(path, "it is a compressed archive", todo=f"Unpack it: gunzip {path.name}")
    return DumpFile(path, kind, gzipped, size)


def _folder(path: Path) -> DumpFile:
    if not (path / "toc.dat").is_file():
        raise _no_dump(path, "it is a folder without toc.dat")
    size = sum(file.stat().st_size for file in path.iterdir())
    return DumpFile(path, Kind.DIRECTORY, gzipped=False, bytes=size)


def _kind(head: bytes) -> Kind | None:
    if head.startswith(_CUSTOM):
        return Kind.CUSTOM
    if head[257:262] == b"ustar" and head.startswith(b"toc.dat"):
        return Kind.TAR
    if b"-- PostgreSQL database cluster dump" in head:
        return Kind.CLUSTER
    if b"-- PostgreSQL database dump" in head or any(bare in head for bare in _BARE):
        return Kind.PLAIN
    return None


def taken_at(dump: DumpFile, programs: Programs) -> tuple[datetime, str] | None:
    """When an archive says that it was made, and in which time zone; text doesn't say.

    Raises:
        Problem: It can't be read.
    """
    if not dump.is_archive:
        return None
    listed = run_program([str(programs.path("pg_restore")), "--list", str(dump.path)], _TOLD)
    created = _CREATED.search(listed)
    if created is None:
        return None
    return datetime.fromisoformat(created[1]).replace(tzinfo=UTC), created[2]


@contextmanager
def text_of(dump: DumpFile, programs: Programs) -> Iterator[Iterator[bytes]]:
    """The lines of a dump, whatever its format, one after the other.

    Raises:
        Problem: It is damaged, or ends in the middle.
    """
    if dump.is_archive:
        command = [str(programs.path("pg_restore")), "--file=-", str(dump.path)]
        with running(command, _TOLD, piped=True) as program:
            yield _to_the_end(program.output, program.finish)
        return
    with gzip.open(dump.path) if dump.gzipped else dump.path.open("rb") as file:
        yield _whole(file, dump)


def _whole(file: Iterable[bytes], dump: DumpFile) -> Iterator[bytes]:
    """The lines of a text that has to end as pg_dump ends one."""
    last = b""
    try:
        for line in file:
            if line.strip(b"\n-"):
                last = line if not line.startswith(b"\\unrestrict") else last
            yield line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _cut_short(dump.path) from error
    ending = b"cluster dump complete" if dump.kind is Kind.CLUSTER else b"dump complete"
    if ending not in last and not last.startswith(b"RESET ALL;"):
        raise _cut_short(dump.path)


def _to_the_end(lines: IO[bytes], finish: Callable[[], None]) -> Iterator[bytes]:
    yield from lines
    finish()


def _cut_short(path: Path) -> Problem:
    return Problem(
        f"{path.name} is damaged or ends in the middle: it doesn't end as a dump ends.",
        state=_UNTOUCHED,
        todo=_TRUNCATED,
    )


def _no_dump(path: Path, why: str, todo: str = "") -> Problem:
    return Problem(
        f"{path} is no Postgres backup: {why}.",
        state=_UNTOUCHED,
        todo=todo
        or "Name a folder of 'pymilk backup', or a file of pg_dump, pg_dumpall or the"
        " Supabase dashboard.",
    )
