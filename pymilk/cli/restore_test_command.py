"""`pymilk restore-test`: does the backup come back? Restores it where nothing can be lost."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pymilk.cli import options
from pymilk.cli.render import say, say_json

if TYPE_CHECKING:
    from pymilk.deploy.backup.file_test import Beside, FileTested
    from pymilk.deploy.basis.evidence import RestoreTested

_FEW = 8


@click.command
@options.backup
@options.db_url
@options.project
@options.policy
@options.as_json
def restore_test(
    *, backup: str | None, db_url: str | None, project: Path, policy: str | None, as_json: bool
) -> None:
    """Restore a backup on a throw-away server and compare; no database of yours is written to.

    A file that others made is laid beside the database, where one is named.

    Example: pymilk restore-test ~/Downloads/db_cluster-15-09-2025@02-14-07.backup.gz
    """
    from pymilk.cli.meter import meter_on
    from pymilk.cli.opening import files_of
    from pymilk.database.dump_file import recognise
    from pymilk.database.manifest import is_backup
    from pymilk.database.programs import find_programs
    from pymilk.deploy.backup.file_test import prove_file
    from pymilk.deploy.backup.restore_test import prove_and_record
    from pymilk.deploy.backup.shelf import find_backup, shelf_of
    from pymilk.deploy.basis.plan import CopyAt
    from pymilk.deploy.rehearsal.bench import open_bench

    found, target = files_of(project, db_url, policy)
    path = find_backup(shelf_of(found, target), backup)
    meter = meter_on(sys.stderr if as_json else sys.stdout)
    if is_backup(path):
        with open_bench(CopyAt(), None, find_programs().major) as bench:
            tested, unrecorded = prove_and_record(path, bench, find_programs(), target, meter)
        if as_json:
            facts = {"backup": path, "proven": True, "tested": tested, "unrecorded": unrecorded}
            say_json({**facts, "unrecorded": unrecorded or None})
        else:
            say(*_text(path, tested, unrecorded))
        return
    dump = recognise(path)
    with open_bench(CopyAt(), None, find_programs().major) as bench:
        live = target if db_url else None
        result = prove_file(dump, bench.superuser_url, find_programs(), live, meter)
    if as_json:
        say_json({"backup": path, "proven": False, "tested": result, "not_back": result.not_back})
    else:
        say(*_file_text(result))
    if result.not_back:
        raise click.exceptions.Exit(1)


def _text(path: Path, tested: "RestoreTested", unrecorded: str) -> list[str]:
    back = f"{tested.rows:,} rows in {tested.tables} tables are equal, and so is the schema"
    return [
        f"{path.name} comes back: {back}.",
        f"  To be back after a loss takes {tested.seconds:.1f} s on this machine, once there is an",
        "  empty database.",
        *([f"  Not in the ledger: {unrecorded}"] if unrecorded else []),
        "  In earnest, into a new database:  pymilk restore",
    ]


def _file_text(tested: "FileTested") -> list[str]:
    from pymilk.deploy.backup.file_test import is_platforms

    own = {name: rows for name, rows in tested.tables.items() if not is_platforms(name)}
    platform = len(tested.tables) - len(own)
    rows = sum(back for _, back in own.values())
    file = tested.file
    version = f"of Postgres {tested.server_version}"
    lines = [
        f"{file.path.name}: {file.kind}, {file.bytes / 1e6:.1f} MB, {version}.",
        f"  Taken: {tested.taken}.",
        f"  {rows:,} rows in {len(own)} tables came back, in {tested.seconds:.1f} s"
        + (f"; {platform} of the platform's tables, too." if platform else "."),
    ]
    lines += [
        f"  ✗ {name}: {inside:,} rows in the file, {back:,} came back"
        for name, (inside, back) in own.items()
        if inside != back
    ]
    lines += [f"  {name}: {back:,}" for name, (_, back) in own.items()] if not tested.beside else []
    lines += _beside_text(tested.beside)
    if tested.roles:
        lines.append(f"  Roles that it needs and doesn't bring: {', '.join(tested.roles)}")
    if tested.extensions:
        lines.append(f"  Extensions to switch on before a restore: {', '.join(tested.extensions)}")
    lines += [f"  Not taken here: {each.words} …: {each.why}" for each in tested.refused[:_FEW]]
    if len(tested.refused) > _FEW:
        lines.append(f"  … and {len(tested.refused) - _FEW} more that were not taken")
    lines.append(
        "  Counted, not proven: no fingerprints were taken when it was made. 'pymilk backup' takes"
        " them. Files in Storage are in no backup of this kind."
    )
    return lines


def _beside_text(beside: "tuple[Beside, ...]") -> list[str]:
    if not beside:
        return []
    lines = [f"  {'':<34}{'backup':>12}{'live':>12}"]
    for each in beside:
        newest = (
            f" (newest row {each.newest_in_backup} in the backup, {each.newest_live} live)"
            if each.newest_in_backup and each.newest_in_backup != each.newest_live
            else ""
        )
        counts = f"{_count(each.backup):>12}{_count(each.live):>12}"
        lines.append(f"  {each.table:<34}{counts}  {each.verdict}{newest}")
    return lines


def _count(rows: int | None) -> str:
    return "-" if rows is None else f"{rows:,}"
