"""Back up with pg_dump and restore with pg_restore: a folder, a manifest, nothing half-made."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from psycopg import sql

from pymilk.database.beside import read_beside
from pymilk.database.catalog import OWN_SCHEMAS, Catalog, project_schemas, read_catalog
from pymilk.database.connection import Connection, connect, without_password
from pymilk.database.contents import Contents, read_all_contents, read_tables
from pymilk.database.programs import Programs
from pymilk.database.stamps import without_stamps
from pymilk.problem import Problem

_MANIFEST = "manifest.json"
_JOBS = "2"


@dataclass(frozen=True)
class Backup:
    """A finished backup on disk.

    Attributes:
        folder: Where it lies (0700: it holds names, phones and balances).
        taken_at: The moment of its snapshot.
        server_major: The server's major version.
        schemas: The schemas in it.
        roles: The server's roles, which owners and grants in it may name.
        contents: Row counts and fingerprints, read in the very snapshot that was dumped.
        catalog: The schema, read in that snapshot too.
        beside: Statements for what pg_dump leaves out of a dump of schemas.
        files: SHA-256 of each file of the dump, by its path in the folder.
        bytes: Size of the dump.
    """

    folder: Path
    taken_at: datetime
    server_major: int
    schemas: tuple[str, ...]
    roles: tuple[str, ...]
    contents: Mapping[str, Contents]
    catalog: Catalog
    beside: tuple[str, ...]
    files: Mapping[str, str]
    bytes: int


def take_backup(url: str, programs: Programs, folder: Path) -> Backup:
    """Dump what belongs to the project, and describe it from the same snapshot.

    Args:
        url: The database.
        programs: pg_dump's place.
        folder: The new backup's folder; it appears only once everything in it is proven written.

    Raises:
        Problem: The dump failed; nothing is left behind.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(mode=0o700, parents=True)
        with (
            connect(url, purpose="backup") as connection,
            connection.transaction(),
        ):
            connection.execute("set transaction isolation level repeatable read, read only")
            snapshot, taken_at = _export_snapshot(connection)
            schemas = _schemas_to_back_up(connection)
            _dump(url, programs, partial / "dump", schemas, snapshot)
            backup = Backup(
                folder=folder,
                taken_at=taken_at.astimezone(UTC),
                server_major=connection.info.server_version // 10000,
                schemas=schemas,
                roles=_roles(connection),
                contents=read_all_contents(connection, read_tables(connection, schemas)),
                catalog=read_catalog(connection),
                beside=read_beside(connection),
                files=_checksums(partial / "dump"),
                bytes=sum(file.stat().st_size for file in (partial / "dump").rglob("*")),
            )
        _write_manifest(backup, partial / _MANIFEST)
        partial.rename(folder)
    except OSError as error:
        raise Problem(
            f"The backup could not be written: {error.strerror or error} ({partial}).",
            state="Nothing was changed in the database; the unfinished backup was removed.",
            todo="Make room on that disk, then run it again.",
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return backup


def read_backup(folder: Path) -> Backup:
    """Read a backup's manifest and check that its files are the ones it describes.

    Raises:
        Problem: There is no backup, or a file of it was altered.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        backup = _described(folder, manifest)
        files = _checksums(folder / "dump")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Problem(
            f"{folder} is no backup of ours: {error}.",
            state="Nothing was changed.",
            todo="Name the folder of a backup (the one with manifest.json in it).",
        ) from error
    altered = sorted(
        name for name in {*files, *backup.files} if files.get(name) != backup.files.get(name)
    )
    if altered:
        raise Problem(
            f"The backup {folder.name} was altered after it was made: {', '.join(altered[:5])}.",
            state="Nothing was changed.",
            todo="Don't restore from it; take a new backup, or use an older one.",
        )
    return backup


def _described(folder: Path, manifest: dict[str, Any]) -> Backup:
    return Backup(
        folder=folder,
        taken_at=datetime.fromisoformat(manifest["taken_at"]),
        server_major=manifest["server_major"],
        schemas=tuple(manifest["schemas"]),
        roles=tuple(manifest["roles"]),
        contents={name: Contents(**found) for name, found in manifest["contents"].items()},
        catalog=Catalog(manifest["catalog"]),
        beside=tuple(manifest["beside"]),
        files=manifest["files"],
        bytes=manifest["bytes"],
    )


def restore(backup: Backup, url: str, programs: Programs) -> None:
    """Restore a backup into a fresh Supabase-shaped database.

    Args:
        backup: What to restore.
        url: The database, connected to as a superuser; its schemas must be empty.
        programs: pg_restore's place.

    Raises:
        Problem: pg_restore failed; the scratch database may hold a part.
    """
    with connect(url, purpose="restore") as connection:
        for schema in backup.schemas:
            # A dump of chosen schemas creates each of them.
            connection.execute(
                sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(schema))
            )
        # Except that pg_dump describes the grants on `public` relative to what initdb made.
        connection.execute("create schema public authorization pg_database_owner")
        connection.execute("grant usage on schema public to public")
        _make_missing_roles(connection, backup.roles)
    pg_restore = str(programs.path("pg_restore"))
    dump = str(backup.folder / "dump")
    run = partial(
        _run,
        what="The backup could not be restored",
        state="Nothing was changed in the database it was taken from.",
    )
    with tempfile.NamedTemporaryFile("w", suffix=".list", encoding="utf-8") as chosen:
        chosen.writelines(
            line
            for line in run([pg_restore, "--list", dump]).splitlines(keepends=True)
            if " SCHEMA - public " not in line
        )
        chosen.flush()
        listed = [f"--use-list={chosen.name}", dump]
        schema = without_stamps(run([pg_restore, "--section=pre-data", "--file=-", *listed]))
        psql = [str(programs.path("psql")), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]
        run(psql, url=url, given=schema)
        rest = [f"--jobs={_JOBS}", "--exit-on-error", "--section=data", "--section=post-data"]
        run([pg_restore, *rest, *listed], url=url)
    with connect(url, purpose="restore") as connection:
        for statement in backup.beside:
            connection.execute(statement.encode())


def schema_text(url: str, programs: Programs, schemas: Iterable[str], *, data: bool = False) -> str:
    """pg_dump's own text of some schemas, comparable between runs: the independent oracle."""
    text = _run(
        [
            str(programs.path("pg_dump")),
            "--restrict-key=pymilk",
            *([] if data else ["--schema-only"]),
            *(f"--schema={_exactly(schema)}" for schema in schemas),
        ],
        what="The schema could not be dumped",
        state="Nothing was changed.",
        url=url,
    )
    return without_stamps(text)


def _schemas_to_back_up(connection: Connection) -> tuple[str, ...]:
    kept = ("supabase_migrations", *OWN_SCHEMAS)
    present = connection.execute(
        "select nspname from pg_catalog.pg_namespace where nspname = any(%s) order by 1",
        (list(kept),),
    ).fetchall()
    return (*project_schemas(connection), *(row[0] for row in present))


def _dump(
    url: str, programs: Programs, folder: Path, schemas: tuple[str, ...], snapshot: str
) -> None:
    _run(
        [
            str(programs.path("pg_dump")),
            "--format=directory",
            f"--jobs={_JOBS}",
            f"--snapshot={snapshot}",
            "--lock-wait-timeout=10s",
            "--strict-names",
            *(f"--schema={_exactly(schema)}" for schema in schemas),
            f"--file={folder}",
        ],
        what="The backup failed",
        state="Nothing was changed in the database; the unfinished backup was removed.",
        url=url,
    )


def _exactly(name: str) -> str:
    """A name as a pattern of pg_dump that matches this name alone, in its own case."""
    return '"' + name.replace('"', '""') + '"'


def _run(
    command: list[str],
    *,
    what: str,
    state: str,
    url: str | None = None,
    given: str | None = None,
) -> str:
    """Run one of Postgres's programs, against a database or on files; gives what it printed."""
    connected = []
    environment = dict(os.environ)
    if url is not None:
        shown, secret = without_password(url)
        connected = [f"--dbname={shown}"]
        environment.update(secret)
    done = subprocess.run(
        [*command, *connected],
        env=environment,
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        told = next(
            (line for line in lines if "error:" in line.lower()), lines[-1] if lines else "no word"
        )
        todo = "Make room on the disk." if "No space left" in done.stderr else "See the message."
        raise Problem(f"{what}: {told}", state=state, todo=f"{todo} Then run it again.")
    return done.stdout


def _make_missing_roles(connection: Connection, roles: Iterable[str]) -> None:
    """Owners and grantees that a scratch server lacks, as roles that can't log in."""
    for role in roles:
        known = connection.execute("select 1 from pg_roles where rolname = %s", (role,))
        if known.fetchone() is None:
            connection.execute(sql.SQL("create role {} nologin").format(sql.Identifier(role)))


def _checksums(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): _checksum(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def _checksum(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write_manifest(backup: Backup, path: Path) -> None:
    manifest = {
        "taken_at": backup.taken_at.isoformat(),
        "server_major": backup.server_major,
        "schemas": backup.schemas,
        "roles": backup.roles,
        "contents": {name: asdict(contents) for name, contents in backup.contents.items()},
        "catalog": dict(backup.catalog.objects),
        "beside": backup.beside,
        "files": backup.files,
        "bytes": backup.bytes,
        "not_included": ["storage files", "schemas of the platform (auth, storage, …)", "roles"],
    }
    path.write_text(json.dumps(manifest, indent=1, ensure_ascii=False), encoding="utf-8")


def _export_snapshot(connection: Connection) -> tuple[str, datetime]:
    row = connection.execute("select pg_export_snapshot(), now()").fetchone()
    if row is None:
        raise LookupError("select without from gives a row")
    return str(row[0]), row[1]


def _roles(connection: Connection) -> tuple[str, ...]:
    rows = connection.execute("select rolname from pg_roles where rolname !~ '^pg_' order by 1")
    return tuple(row[0] for row in rows)
