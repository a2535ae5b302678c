"""A finished backup on disk: what its manifest says, and that its files are still those.

A folder with `manifest.json`, the dump in `dump/`, CSV files in `critical/` where they were asked
for, and `SHA256SUMS` over all of it, which `sha256sum --check SHA256SUMS` understands too.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pymilk.database.catalog import Catalog
from pymilk.database.contents import Contents
from pymilk.database.extensions import Extension
from pymilk.database.platform import Platform, Reference
from pymilk.problem import Problem

DUMP = "dump"
CRITICAL = "critical"
_MANIFEST = "manifest.json"
_SUMS = "SHA256SUMS"
_FORMAT = 1


@dataclass(frozen=True)
class Backup:
    """A finished backup on disk.

    Attributes:
        folder: Where it lies (0700: it holds names, phones and balances).
        taken_at: The moment of its snapshot.
        taken_from: The database, without its password.
        server_major: The server's major version.
        schemas: The schemas in it.
        roles: The server's roles, which owners and grants in it may name.
        contents: Row counts and fingerprints, read in the very snapshot that was dumped.
        positions: How far each sequence had counted when the dump began.
        catalog: The schema, read in that snapshot too.
        beside: Statements for what pg_dump leaves out of a dump of schemas.
        critical: Table → rows in its CSV file.
        left_out: What is not in it, one sentence each.
        files: SHA-256 of each file, by its path in the folder.
        bytes: Size of all files.
        platform: What its schemas need beside themselves.
        said: When a file that others made was taken, in its words; empty for a backup of ours.
    """

    folder: Path
    taken_at: datetime
    taken_from: str
    server_major: int
    schemas: tuple[str, ...]
    roles: tuple[str, ...]
    contents: Mapping[str, Contents]
    positions: Mapping[str, int | None]
    catalog: Catalog
    beside: tuple[str, ...]
    critical: Mapping[str, int]
    left_out: tuple[str, ...]
    files: Mapping[str, str]
    bytes: int
    platform: Platform = field(default_factory=Platform)
    said: str = ""

    @property
    def is_of_others(self) -> bool:
        """Whether what is in it was written by others: no superuser runs it, anywhere."""
        return bool(self.said)

    @property
    def own_extensions(self) -> tuple[Extension, ...]:
        """Extensions in a schema that is in the backup: they go between it and what is in it."""
        own = {*self.schemas} - {"public"}
        return tuple(each for each in self.platform.extensions if each.schema in own)

    @property
    def moment(self) -> str:
        """Of when it is, to go on after "as it was": at a time, or in a file."""
        if self.said:
            return f"in {self.taken_from} (taken: {self.said})"
        return f"at {self.taken_at:%Y-%m-%d %H:%M:%S} UTC"

    @property
    def dump(self) -> Path:
        """pg_dump's own folder; pg_restore reads it without us."""
        return self.folder / DUMP

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(contents.rows for contents in self.contents.values())


def is_backup(folder: Path) -> bool:
    """Whether a folder says of itself that it is a backup of ours."""
    return (folder / _MANIFEST).is_file()


def read_backup(folder: Path) -> Backup:
    """Read a backup's manifest and check that its files are the ones that were written.

    Raises:
        Problem: There is no backup, or a file of it was altered.
    """
    try:
        text = (folder / _MANIFEST).read_text(encoding="utf-8")
        recorded = _read_sums(folder / _SUMS)
        found = checksums(folder)
    except (OSError, ValueError) as error:
        raise _no_backup(folder, error) from error
    altered = sorted(name for name in {*found, *recorded} if found.get(name) != recorded.get(name))
    if altered:
        raise Problem(
            f"The backup {folder.name} was altered after it was made: {', '.join(altered[:5])}.",
            state="Nothing was changed.",
            todo="Don't restore from it; take a new backup, or use an older one.",
        )
    try:
        return _described(folder, json.loads(text), found)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_backup(folder, error) from error


def seal(described: Backup) -> Backup:
    """Write a backup's manifest and checksums beside its dump; gives it with its files.

    Raises:
        OSError: They can't be written.
    """
    manifest = {
        "format": _FORMAT,
        "taken_at": described.taken_at.isoformat(),
        "taken_from": described.taken_from,
        "server_major": described.server_major,
        "schemas": described.schemas,
        "roles": described.roles,
        "contents": {name: asdict(contents) for name, contents in described.contents.items()},
        "positions": dict(described.positions),
        "catalog": dict(described.catalog.objects),
        "beside": described.beside,
        "critical": dict(described.critical),
        "not_included": described.left_out,
        "platform": asdict(described.platform),
        "said": described.said,
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    (described.folder / _MANIFEST).write_text(text, encoding="utf-8")
    files = checksums(described.folder)
    sums = "".join(f"{digest}  {name}\n" for name, digest in files.items())
    (described.folder / _SUMS).write_text(sums, encoding="utf-8")
    return replace(described, files=files, bytes=_size(described.folder, files))


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of the manifest and of every file of the dump, by path.

    Raises:
        OSError: One can't be read.
    """
    parts = [folder / _MANIFEST, *(folder / DUMP).rglob("*"), *(folder / CRITICAL).rglob("*")]
    return {
        file.relative_to(folder).as_posix(): _checksum(file)
        for file in sorted(parts)
        if file.is_file()
    }


def _described(folder: Path, manifest: dict[str, Any], files: dict[str, str]) -> Backup:
    if manifest["format"] != _FORMAT:
        raise ValueError(f"its format is {manifest['format']}, ours is {_FORMAT}")
    return Backup(
        folder=folder,
        taken_at=datetime.fromisoformat(manifest["taken_at"]),
        taken_from=manifest["taken_from"],
        server_major=manifest["server_major"],
        schemas=tuple(manifest["schemas"]),
        roles=tuple(manifest["roles"]),
        contents={name: Contents(**found) for name, found in manifest["contents"].items()},
        positions=manifest["positions"],
        catalog=Catalog(manifest["catalog"]),
        beside=tuple(manifest["beside"]),
        critical=manifest["critical"],
        left_out=tuple(manifest["not_included"]),
        files=files,
        bytes=_size(folder, files),
        platform=_platform(manifest.get("platform", {})),
        said=manifest.get("said", ""),
    )


def _platform(described: dict[str, Any]) -> Platform:
    return Platform(
        tuple(Extension(**one) for one in described.get("extensions", ())),
        tuple(
            Reference(**{name: _as_tuple(value) for name, value in one.items()})
            for one in described.get("references", ())
        ),
    )


def _as_tuple(value: Any) -> Any:  # noqa: ANN401 - JSON knows lists alone
    return tuple(value) if isinstance(value, list) else value


def _no_backup(folder: Path, why: Exception) -> Problem:
    return Problem(
        f"{folder} is no backup of ours: {why}.",
        state="Nothing was changed.",
        todo="Name the folder of a backup (the one with manifest.json in it).",
    )


def _read_sums(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    pairs = [line.split("  ", 1) for line in lines]
    return {name: digest for digest, name in pairs}


def _size(folder: Path, files: Iterable[str]) -> int:
    return sum((folder / name).stat().st_size for name in files)


def _checksum(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
