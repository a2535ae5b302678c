"""A dump that others made, turned into a backup of ours: then it is restored like any other.

It is loaded on a throw-away server, where every row of it is counted, and backed up from there with
fingerprints. So what is restored in the end is compared with what was in the file, row by row.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from psycopg import sql

from pymilk.database.connection import Connection, on_database
from pymilk.database.dump import take_backup
from pymilk.database.dump_file import DumpFile
from pymilk.database.manifest import seal
from pymilk.database.meter import UNWATCHED, Meter
from pymilk.database.programs import Programs
from pymilk.deploy.backup.file_test import FileTested, prove_file
from pymilk.deploy.basis.plan import Bench
from pymilk.problem import Problem, UsageProblem

_USUAL = "postgres"
_UNTOUCHED = "Nothing was changed in any database of yours."


@dataclass(frozen=True)
class ForeignBackup:
    """A dump of others as a backup of ours.

    Attributes:
        folder: The backup's folder; it goes when the work on it ends.
        tested: What was found when the file was loaded.
    """

    folder: Path
    tested: FileTested


@contextmanager
def backup_of_file(
    dump: DumpFile, bench: Bench, programs: Programs, place: Path, meter: Meter = UNWATCHED
) -> Iterator[ForeignBackup]:
    """Load a dump on the bench, and take a backup of what came of it.

    Args:
        dump: The file.
        bench: A throw-away server.
        programs: Postgres's own.
        place: A private folder with room for the data.
        meter: Who is told how far it is.

    Raises:
        UsageProblem: It holds several databases.
        Problem: It is damaged, or not every row of it could be loaded.
    """
    tested = prove_file(dump, bench.superuser_url, programs, meter=meter)
    _refuse_what_is_missing(tested)
    name = tested.loaded[_database(tested)]
    with tested.loader.session(name) as session:
        _let_the_owner_read(session)
    with tempfile.TemporaryDirectory(prefix="file_", dir=place) as private:
        url = on_database(bench.owner_url, name)
        taken = take_backup(url, programs, Path(private) / "backup", meter=meter)
        # It is of what the file is of, not of the throw-away database.
        seal(
            replace(
                taken,
                taken_from=dump.path.name,
                taken_at=tested.taken_at,
                said=tested.taken,
            )
        )
        yield ForeignBackup(taken.folder, tested)


def _database(tested: FileTested) -> str:
    """The database that is meant: on Supabase it is always `postgres`."""
    found = tested.databases
    if len(found) > 1 and _USUAL not in found:
        raise UsageProblem(
            f"{tested.file.path.name} holds several databases: {', '.join(found)}.",
            state=_UNTOUCHED,
            todo="Dump the one that is meant by itself, with pg_dump, and name that file.",
        )
    return _USUAL if _USUAL in found else found[0]


def _let_the_owner_read(session: Connection) -> None:
    """Let `postgres` read what others own: a backup is taken by the role that it is restored by."""
    owners = session.execute(
        "select r.rolname from pg_catalog.pg_roles as r"
        " where not pg_has_role('postgres', r.oid, 'usage') and r.rolname !~ '^pg_'"
        " and not r.rolsuper and ("
        " r.oid in (select relowner from pg_catalog.pg_class)"
        " or r.oid in (select nspowner from pg_catalog.pg_namespace))"
    ).fetchall()
    for (owner,) in owners:
        session.execute(sql.SQL("grant {} to postgres").format(sql.Identifier(owner)))


def _refuse_what_is_missing(tested: FileTested) -> None:
    if not tested.not_back:
        return
    reasons = [f"{each.words} …: {each.why}" for each in tested.refused[:1]]
    extensions = f"the extension {', '.join(tested.extensions)}" if tested.extensions else ""
    raise Problem(
        f"Not every row of {tested.file.path.name} could be loaded: "
        + ", ".join(tested.not_back[:5])
        + f". It lacks {extensions or '; '.join(reasons)}",
        state=_UNTOUCHED,
        todo="pymilk restore-test FILE lists all of it."
        + (" Where the real extension is: --copy container." if extensions else ""),
    )
